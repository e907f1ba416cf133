package audit

import (
	"net"
	"sync"
	"time"
)

// Of refusals, in a minute.
const (
	perSource = 5   // are told of one address
	perMinute = 100 // are told of all
	maxSource = 4096
)

// Refusals bounds how much strangers can have written down: of each address the
// first few in a minute, and so many of all. The zero value is ready. Its method
// may be called at once from many goroutines.
type Refusals struct {
	Now func() time.Time // nil: time.Now

	mu      sync.Mutex
	began   time.Time
	sources map[string]int
	told    int
	omitted int
}

// Tell tells whether a refusal of somebody at an address (host:port) is to be
// written down, and how many were not since the last that was.
func (r *Refusals) Tell(from string) (tell bool, omitted int) {
	host, _, err := net.SplitHostPort(from)
	if err != nil {
		host = from
	}
	now := time.Now
	if r.Now != nil {
		now = r.Now
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := now(); t.Sub(r.began) >= time.Minute || t.Before(r.began) {
		r.began, r.told, r.sources = t, 0, map[string]int{}
	}
	known := r.sources[host]
	if known >= perSource || r.told >= perMinute || known == 0 && len(r.sources) >= maxSource {
		r.omitted++
		return false, 0
	}
	r.sources[host]++
	r.told++
	omitted, r.omitted = r.omitted, 0
	return true, omitted
}
