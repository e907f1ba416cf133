package envoy

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"
)

const (
	// leastDrain is how long Envoy goes on serving though nothing is under
	// way: callers learn within one endpoint push (500 ms) that it goes.
	leastDrain = time.Second
	drainPoll  = 100 * time.Millisecond
)

// drain lets r serve what is under way, for DrainTime at most.
func (p *Process) drain(ctx context.Context, r *running) {
	if p.cfg.DrainTime < 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.DrainTime)
	defer cancel()
	if err := p.admin.Drain(ctx); err != nil {
		p.log.Warn("envoy was not drained", "pid", r.pid, "err", err)
		return
	}
	if r.wait(min(leastDrain, p.cfg.DrainTime)) {
		return
	}
	for {
		switch busy, err := p.busy(ctx); {
		case errors.Is(err, context.DeadlineExceeded):
			p.log.Warn("envoy was stopped with connections open", "pid", r.pid, "after", p.cfg.DrainTime)
			return
		case err != nil || !busy:
			return
		}
		if r.wait(drainPoll) {
			return
		}
	}
}

// underWay matches the gauges of requests and of connections that carry none.
var underWay = regexp.MustCompile(`^(http\..+\.downstream_rq_active|tcp\..+\.downstream_cx_active)$`)

// busy tells whether anything is under way.
func (p *Process) busy(ctx context.Context) (bool, error) {
	gauges, err := p.admin.Stats(ctx, underWay.String())
	if err != nil {
		return false, err
	}
	for name, n := range gauges {
		if n > 0 && !strings.HasPrefix(name, "http.admin.") {
			return true, nil
		}
	}
	return false, nil
}
