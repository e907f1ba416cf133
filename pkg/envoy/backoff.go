package envoy

import "time"

const (
	firstWait = 100 * time.Millisecond
	maxWait   = 30 * time.Second
	// longEnough is the life after which a death is no longer part of a row.
	longEnough = time.Minute
)

// A backoff says how long to wait before Envoy is started again. Its zero
// value has seen no death.
type backoff struct {
	wait   time.Duration
	deaths int // in a row
}

// next returns the wait after a life: 100 ms, then twice as much each time, 30 s
// at most.
func (b *backoff) next(lived time.Duration) time.Duration {
	if lived >= longEnough || b.wait == 0 {
		b.wait, b.deaths = firstWait, 1
	} else {
		b.wait, b.deaths = min(2*b.wait, maxWait), b.deaths+1
	}
	return b.wait
}
