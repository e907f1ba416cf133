package xds

import (
	"context"
	"sync"
	"time"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// How often one proxy may open a stream: so many at once, then one in each
// interval. A host that restarts its agent or loses its way for a while stays
// far below; a proxy that comes back the moment that it was served would cost
// a plan and a full answer each time.
const (
	openBurst    = 10
	openInterval = time.Second
)

// A pacer knows when each proxy may open its next stream.
type pacer struct {
	mu   sync.Mutex
	next map[proxy.ID]time.Time // when all that it opened is paid for
}

func newPacer() *pacer { return &pacer{next: map[proxy.ID]time.Time{}} }

// due counts a stream that is opened now, and says how long it has to wait.
func (p *pacer) due(id proxy.ID, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.next) >= 1024 && len(p.next)&(len(p.next)-1) == 0 { // a power of two: seldom
		for other, at := range p.next {
			if at.Before(now) {
				delete(p.next, other)
			}
		}
	}
	at := p.next[id]
	if at.Before(now) {
		at = now
	}
	at = at.Add(openInterval)
	p.next[id] = at
	return max(at.Sub(now)-openBurst*openInterval, 0)
}

// wait holds a stream up until it is due, or gone.
func (p *pacer) wait(ctx context.Context, id proxy.ID) error {
	d := p.due(id, time.Now())
	if d == 0 {
		return nil
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
