package redirect

import "time"

// How often is mended. Five times in a row is what a firewall's restart and
// its neighbours' take; more is somebody who means it.
const (
	burst       = 5
	burstWindow = 10 * time.Second
	firstPause  = 2 * time.Second
	longPause   = time.Minute
)

// A pace says when the next mend is due: at once for a burst, then at
// intervals that double, until nobody undid one for twice its interval.
type pace struct {
	recent []time.Time // mends within burstWindow, oldest first
	last   time.Time
	pause  time.Duration // after last; 0: none
}

// next is when a mend is due that is needed now: now, or later.
func (p *pace) next(now time.Time) time.Time {
	if p.pause == 0 || now.Sub(p.last) >= max(2*p.pause, burstWindow) {
		p.pause = 0
		return now
	}
	return later(p.last.Add(p.pause), now)
}

// mended notes a mend.
func (p *pace) mended(now time.Time) {
	for len(p.recent) > 0 && now.Sub(p.recent[0]) >= burstWindow {
		p.recent = p.recent[1:]
	}
	p.recent, p.last = append(p.recent, now), now
	switch {
	case p.pause > 0:
		p.pause = min(2*p.pause, longPause)
	case len(p.recent) >= burst:
		p.pause = firstPause
	}
}
