package agent

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/weft-mesh/weft/pkg/agent/health"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// leastInterval is how seldom a service is asked at least.
const leastInterval = 100 * time.Millisecond

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
	case c.ServiceProbeInterval < leastInterval || c.ServiceProbeTimeout < 10*time.Millisecond:
		return nil, fmt.Errorf("needs serviceProbeInterval of 100ms and serviceProbeTimeout of 10ms at least")
	case c.ServiceProbeHealthy < 1 || c.ServiceProbeUnhealthy < 1:
		return nil, fmt.Errorf("needs serviceProbeHealthy and serviceProbeUnhealthy of 1 at least")
	}
	p.Interval, p.Timeout = c.ServiceProbeInterval, c.ServiceProbeTimeout
	p.Healthy, p.Unhealthy = c.ServiceProbeHealthy, c.ServiceProbeUnhealthy
	p.Dial = dialOut
	return &p, nil
}

// probe is how the service is asked now: as the configuration says, else as its
// Dataplane does; nil is not at all.
func (w *Workload) probe() *health.Probe {
	c := w.now.Load()
	p, err := c.serviceProbe()
	if err != nil || c.Gateway {
		return nil // told by Validate
	}
	if p == nil {
		all := w.probes.Load()
		if all == nil {
			return nil // not known yet
		}
		told, has := (*all)[c.Port]
		if !has {
			return nil
		}
		p = &health.Probe{
			Kind: health.TCP, Dial: dialOut,
			Interval: max(time.Duration(told.Interval), leastInterval), Timeout: time.Duration(told.Timeout),
			Unhealthy: max(int(told.Unhealthy), 1), Healthy: max(int(told.Healthy), 1),
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	p.Address = net.JoinHostPort(c.workload(w.address).String(), strconv.Itoa(int(c.Port)))
	return p
}

// takeProbes has the service asked as its Dataplane says.
func (w *Workload) takeProbes(all map[uint16]proxy.Probe) {
	if w.probes.Swap(&all) == nil {
		close(w.probesKnown)
	}
	w.lookAgain()
}

// lookAgain has the probe be looked at again. It never blocks.
func (w *Workload) lookAgain() {
	select {
	case w.reprobe <- struct{}{}:
	default:
	}
}

// probeService asks the service, and has peers know within one push when it
// turns well or unwell, or is not asked any more.
func (w *Workload) probeService(ctx context.Context) error {
	select {
	case <-w.probesKnown:
	case <-ctx.Done():
		return nil
	}
	verdicts := make(chan health.Verdict, 1)
	var asked *health.Probe // what runs
	stop := func() {}
	defer func() { stop() }()
	for {
		if p := w.probe(); !same(p, asked) {
			stop()
			if stop = func() {}; p != nil {
				stop = w.ask(ctx, *p, verdicts)
			}
			asked = p
			if p == nil {
				w.verdict.Store(nil)
				w.log.Info("service is not asked any more, peers call it")
				w.tellOn(ctx, nil)
			}
		}
		if asked == nil {
			w.know()
		}
		select {
		case v := <-verdicts:
			for next := &v; next != nil; {
				next = w.judged(ctx, *next, verdicts)
			}
		case <-w.reprobe:
		case <-ctx.Done():
			return nil
		}
	}
}

// know lets the Dataplane be registered, as it is known how the service is.
// It tells whether that is news.
func (w *Workload) know() (news bool) {
	w.knowing.Do(func() {
		close(w.probed)
		news = true
	})
	return news
}

// same tells whether two probes ask the same of the same.
func same(a, b *health.Probe) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.String() == b.String()
}

// ask has the service asked until stop is called; after that no verdict comes
// of it.
func (w *Workload) ask(ctx context.Context, p health.Probe, verdicts chan health.Verdict) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Run(ctx, func(v health.Verdict) { offer(verdicts, v) })
	}()
	return func() {
		cancel()
		<-done
		select {
		case <-verdicts:
		default:
		}
	}
}

// judged has peers know of a verdict, and returns one that came meanwhile.
func (w *Workload) judged(ctx context.Context, v health.Verdict, newer <-chan health.Verdict) *health.Verdict {
	w.verdict.Store(&v)
	if v.Well {
		w.log.Info("service is well")
	} else {
		w.log.Warn("service is not well, peers do not call it", "why", v.Why)
	}
	if w.know() {
		return nil // registering tells it
	}
	return w.tellOn(ctx, newer)
}

// tellOn has the control plane hear of the Dataplane of now, however often it
// takes, unless there is something newer to tell, which it returns.
func (w *Workload) tellOn(ctx context.Context, newer <-chan health.Verdict) *health.Verdict {
	for wait := time.Second; ; wait = min(2*wait, againAtMost) {
		err := w.tellDataplane(ctx, registerTime)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		w.log.Warn("peers were not told whether the service can be called, trying on", "error", err, "after", wait)
		select {
		case <-time.After(wait):
		case v := <-newer:
			return &v
		case <-ctx.Done():
			return nil
		}
	}
}

// takesCalls tells whether peers may call the service.
func (w *Workload) takesCalls() bool {
	if w.goes.Load() || !w.up.Load() {
		return false
	}
	if w.probe() == nil {
		return true
	}
	v := w.verdict.Load()
	return v != nil && v.Well
}

// serviceCheck tells how the service is, where it is asked.
func (w *Workload) serviceCheck(now time.Time) (checks []Check) {
	p := w.probe()
	if p == nil {
		return nil
	}
	c := Check{Name: "service", Remedy: "look at the service itself; peers call it again as soon as it answers"}
	switch v := w.verdict.Load(); {
	case v == nil:
		c.Text = "has not been asked yet"
	case v.Well:
		c.OK, c.Text = true, fmt.Sprintf("answers its probe (%s) for %s", p, ago(now, v.Since))
	default:
		c.Text = fmt.Sprintf("does not answer its probe for %s, and is not called: %s", ago(now, v.Since), v.Why)
	}
	return []Check{c}
}
