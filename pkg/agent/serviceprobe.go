package agent

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/weft-mesh/weft/pkg/agent/health"
)

// serviceProbe is how the service is asked whether it can be called; nil is
// not at all.
func (c *Config) serviceProbe() (*health.Probe, error) {
	if c.ServiceProbe == "" || c.Gateway {
		return nil, nil
	}
	p, err := health.Parse(c.ServiceProbe)
	if err != nil {
		return nil, err
	}
	switch {
	case c.ServiceProbeInterval < 100*time.Millisecond || c.ServiceProbeTimeout < 10*time.Millisecond:
		return nil, fmt.Errorf("needs serviceProbeInterval of 100ms and serviceProbeTimeout of 10ms at least")
	case c.ServiceProbeHealthy < 1 || c.ServiceProbeUnhealthy < 1:
		return nil, fmt.Errorf("needs serviceProbeHealthy and serviceProbeUnhealthy of 1 at least")
	}
	p.Interval, p.Timeout = c.ServiceProbeInterval, c.ServiceProbeTimeout
	p.Healthy, p.Unhealthy = c.ServiceProbeHealthy, c.ServiceProbeUnhealthy
	p.Dial = dialOut
	return &p, nil
}

// probeService asks the service, and has peers know within one push when it
// turns well or unwell.
func (w *Workload) probeService(ctx context.Context) error {
	p, err := w.cfg.serviceProbe()
	if p == nil || err != nil {
		return err
	}
	w.mu.Lock()
	p.Address = net.JoinHostPort(w.cfg.workload(w.address).String(), strconv.Itoa(int(w.cfg.Port)))
	w.mu.Unlock()
	verdicts := make(chan health.Verdict, 1)
	go p.Run(ctx, func(v health.Verdict) { offer(verdicts, v) })
	first := true
	for {
		select {
		case v := <-verdicts:
			w.verdict.Store(&v)
			if v.Well {
				w.log.Info("service is well")
			} else {
				w.log.Warn("service is not well, peers do not call it", "why", v.Why)
			}
			if first {
				first = false
				close(w.probed)
				continue // registering tells it
			}
			w.tellOn(ctx, verdicts)
		case <-ctx.Done():
			return nil
		}
	}
}

// tellOn has the control plane hear of the Dataplane of now, however often it
// takes, unless there is something newer to tell.
func (w *Workload) tellOn(ctx context.Context, newer chan health.Verdict) {
	for wait := time.Second; ; wait = min(2*wait, againAtMost) {
		err := w.tellDataplane(ctx, registerTime)
		if err == nil || ctx.Err() != nil {
			return
		}
		w.log.Warn("peers were not told whether the service can be called, trying on", "error", err, "after", wait)
		select {
		case <-time.After(wait):
		case v := <-newer:
			offer(newer, v)
			return
		case <-ctx.Done():
			return
		}
	}
}

// takesCalls tells whether peers may call the service.
func (w *Workload) takesCalls() bool {
	if w.goes.Load() || !w.up.Load() {
		return false
	}
	if p, err := w.cfg.serviceProbe(); p == nil || err != nil {
		return true
	}
	v := w.verdict.Load()
	return v != nil && v.Well
}

// serviceCheck tells how the service is, where it is asked.
func (w *Workload) serviceCheck(now time.Time) (checks []Check) {
	p, err := w.cfg.serviceProbe()
	if p == nil || err != nil {
		return nil
	}
	c := Check{Name: "service", Remedy: "look at the service itself; peers call it again as soon as it answers"}
	switch v := w.verdict.Load(); {
	case v == nil:
		c.Text = "has not been asked yet"
	case v.Well:
		c.OK, c.Text = true, fmt.Sprintf("answers its probe (%s) for %s", w.cfg.ServiceProbe, ago(now, v.Since))
	default:
		c.Text = fmt.Sprintf("does not answer its probe for %s, and is not called: %s", ago(now, v.Since), v.Why)
	}
	return []Check{c}
}
