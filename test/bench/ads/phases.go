//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
)

// patience bounds every wait for something that must come.
const patience = 2 * time.Minute

// measure goes through all phases and prints a line for each figure.
func (c config) measure(ctx context.Context, stdout, log io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "weft-ads-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cp, err := startControlPlane(ctx, c, dir, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cp.stop()) }()
	if err := cp.fetchToken(ctx); err != nil {
		return err
	}
	f := newFleet(c, cp)
	defer f.close()
	t := &table{out: stdout}
	t.head(c.shape)
	for _, phase := range []struct {
		name string
		run  func(context.Context, *fleet, *table) error
	}{{"start", start}, {"endpoints", endpoints}, {"refusals", refusals}, {"envoys", envoys}, {"policies", policies}, {"idle", idle}, {"churn", churn}, {"bulk", bulk}, {"torn", torn}} {
		if c.only != "" && phase.name != "start" && !slices.Contains(strings.Split(c.only, ","), phase.name) {
			continue
		}
		if err := cp.profile(ctx, phase.name, func() error { return phase.run(ctx, f, t) }); err != nil {
			return err
		}
	}
	if c.floors {
		return floors(ctx, f, t)
	}
	return nil
}

// spent runs f and returns what the control plane used meanwhile.
func (cp *controlPlane) spent(f func() error) (cpu time.Duration, after cost, err error) {
	before, err := cp.cost()
	if err != nil {
		return 0, after, err
	}
	if err := f(); err != nil {
		return 0, after, err
	}
	after, err = cp.cost()
	return after.cpu - before.cpu, after, err
}

// start registers everybody and connects each as soon as it is stored.
func start(ctx context.Context, f *fleet, t *table) error {
	var registered, all time.Duration
	cpu, after, err := f.cp.spent(func() (err error) {
		began := time.Now()
		registered, err = f.cp.register(ctx, f.c, func(n int) { f.connect(ctx, n) })
		if err == nil {
			err = f.await(ctx, f.c.Proxies, patience)
		}
		all = time.Since(began)
		return err
	})
	if err != nil {
		return err
	}
	t.row("registered over REST", "%s (%.0f/s)", round(registered), float64(f.c.Proxies)/registered.Seconds())
	t.row("registered and all configured", "%s", round(all))
	t.row("control plane CPU until then", "%s", round(cpu))
	t.row("control plane resident, at most", "%d MB, %d MB", after.resident, after.peak)
	t.row("received by all streams", "%s", size(f.bytes.Load()))
	return nil
}

// change makes a change and waits until all streams that it concerns have it.
func (f *fleet) change(ctx context.Context, typeURL, text string, streams int, do func() error) (took time.Duration, bytes int64, err error) {
	s := &sought{typeURL: typeURL, text: []byte(text), found: make(chan int, f.c.Proxies)}
	f.look.Store(s)
	before := f.bytes.Load()
	began := time.Now()
	if err := do(); err != nil {
		return 0, 0, err
	}
	limit := time.After(patience)
	for i := range streams {
		select {
		case <-s.found:
		case err := <-f.broke:
			return 0, 0, err
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		case <-limit:
			return 0, 0, fmt.Errorf("%d of %d streams have %q after %s", i, streams, text, patience)
		}
	}
	return time.Since(began), f.bytes.Load() - before, nil
}

// quiet lets the control plane's gathering of changes end, so that each round
// meets it at rest, as a single change does.
func quiet(ctx context.Context) {
	select {
	case <-time.After(300 * time.Millisecond):
	case <-ctx.Done():
	}
}

// endpoints adds one endpoint to a service, again and again, and takes it away.
func endpoints(ctx context.Context, f *fleet, t *table) error {
	took, bytes, cpu, err := f.endpoints(ctx, f.c.Proxies)
	if err != nil {
		return err
	}
	t.endpoint = median(took)
	t.row("endpoint added → last stream", "p50 %s, max %s of %d", round(median(took)), round(slices.Max(took)), len(took))
	t.row("bytes for that, all streams", "%s", size(median(bytes)))
	t.row("CPU for that", "%s a change", round(cpu))
	return nil
}

// refusals does the same while every fifth stream refuses all that it gets.
func refusals(ctx context.Context, f *fleet, t *table) error {
	f.storm.Store(true)
	defer f.storm.Store(false)
	took, _, cpu, err := f.endpoints(ctx, f.c.Proxies+100)
	if err != nil {
		return err
	}
	t.row("… while every fifth stream refuses everything", "p50 %s, max %s, CPU %s a change", round(median(took)), round(slices.Max(took)), round(cpu))
	return nil
}

// endpoints makes the changes with dataplanes from the n-th on; cpu is that of
// one change.
func (f *fleet) endpoints(ctx context.Context, n int) (took []time.Duration, bytes []int64, cpu time.Duration, err error) {
	cpu, _, err = f.cp.spent(func() error {
		for round := range f.c.rounds {
			quiet(ctx)
			svc := round % f.c.Services
			d, b, err := f.change(ctx, resource.EndpointType, address(n+round).String(), f.callers(svc), func() error {
				return f.cp.put(ctx, f.c.dataplane(n+round, svc, nil))
			})
			if err != nil {
				return fmt.Errorf("endpoint added: %w", err)
			}
			took, bytes = append(took, d), append(bytes, b)
		}
		return nil
	})
	for round := range f.c.rounds {
		if err == nil {
			err = f.cp.remove(ctx, n+round)
		}
	}
	return took, bytes, cpu / time.Duration(f.c.rounds), err
}

// callers counts the streams that have a service among what they can call.
func (f *fleet) callers(svc int) (n int) {
	for p := range f.c.Proxies {
		if f.c.calls(p, svc) {
			n++
		}
	}
	return n
}

// policies changes who may call one service.
func policies(ctx context.Context, f *fleet, t *table) error {
	var took []time.Duration
	var bytes []int64
	cpu, _, err := f.cp.spent(func() error {
		for round := range f.c.rounds {
			quiet(ctx)
			svc := round % f.c.Services
			servers := 0
			for p := range f.c.Proxies {
				if f.c.serviceOf(p) == svc {
					servers++
				}
			}
			caller := fmt.Sprintf("caller-%d", round)
			doc := permission(service(svc), caller)
			d, b, err := f.change(ctx, resource.ListenerType, "spiffe://default/"+caller, servers, func() error {
				return f.cp.call(ctx, http.MethodPut, fmt.Sprintf("/meshes/default/traffic-permissions/%s", doc["name"]), doc, nil)
			})
			if err != nil {
				return fmt.Errorf("policy changed: %w", err)
			}
			took, bytes = append(took, d), append(bytes, b)
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.policy = median(took)
	t.row("policy of one service → last stream", "p50 %s, max %s of %d", round(median(took)), round(slices.Max(took)), len(took))
	t.row("bytes for that, all streams", "%s", size(median(bytes)))
	t.row("CPU for that", "%s a change", round(cpu/time.Duration(f.c.rounds)))
	return nil
}

// idle looks at a control plane that has nothing to do.
func idle(ctx context.Context, f *fleet, t *table) error {
	if f.c.idle == 0 {
		return nil
	}
	quiet(ctx)
	cpu, after, err := f.cp.spent(func() error {
		select {
		case <-time.After(f.c.idle):
			return nil
		case err := <-f.broke:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err != nil {
		return err
	}
	t.row("idle CPU", "%s a minute", round(time.Duration(float64(cpu)*float64(time.Minute)/float64(f.c.idle))))
	t.row("control plane resident then", "%d MB", after.resident)
	return nil
}

// churn lets dataplanes come and go at a rate, and measures how long each
// arrival takes to the first stream that it concerns. All arrivals are looked
// for one after the other; those that come while one is looked for go unmeasured.
func churn(ctx context.Context, f *fleet, t *table) error {
	if f.c.churn == 0 {
		return nil
	}
	var (
		took    []time.Duration
		changes int
		before  = f.bytes.Load()
	)
	cpu, _, err := f.cp.spent(func() error {
		end := time.After(f.c.churn)
		tick := time.NewTicker(time.Second / time.Duration(f.c.rate))
		defer tick.Stop()
		var calls sync.WaitGroup
		defer calls.Wait()
		faults := make(chan error, 1)
		var look *sought
		var began time.Time
		missing := 0
		for {
			var found chan int
			if look != nil {
				found = look.found
			}
			select {
			case <-end:
				return nil
			case err := <-f.broke:
				return err
			case err := <-faults:
				return err
			case <-ctx.Done():
				return ctx.Err()
			case <-found:
				if missing--; missing == 0 {
					took = append(took, time.Since(began))
					look = nil
				}
			case <-tick.C:
				// Comes, and goes half a second later.
				i := changes
				n, svc := f.c.Proxies+1000+i%1000, i%f.c.Services
				changes++
				if look == nil {
					look = &sought{typeURL: resource.EndpointType, text: []byte(address(n).String()), found: make(chan int, f.c.Proxies)}
					missing = f.callers(svc)
					began = time.Now()
					f.look.Store(look)
				}
				calls.Go(func() {
					if err := f.cp.put(ctx, f.c.dataplane(n, svc, nil)); err != nil {
						offer(faults, err)
						return
					}
					<-time.After(500 * time.Millisecond)
					if err := f.cp.remove(ctx, n); err != nil {
						offer(faults, err)
					}
				})
			}
		}
	})
	if err != nil {
		return fmt.Errorf("churn: %w", err)
	}
	if len(took) == 0 {
		return errors.New("churn: no arrival reached all streams that it concerns")
	}
	slices.Sort(took)
	t.row(fmt.Sprintf("%d dataplanes a second come and go → last stream", f.c.rate), "p50 %s, p99 %s of %d", round(median(took)), round(took[len(took)*99/100]), len(took))
	t.row("bytes for that, all streams", "%s a second", size(int64(float64(f.bytes.Load()-before)/f.c.churn.Seconds())))
	t.row("CPU for that", "%s a second", round(time.Duration(float64(cpu)/f.c.churn.Seconds())))
	return nil
}

func offer(ch chan error, err error) {
	select {
	case ch <- err:
	default:
	}
}

// torn kills the control plane and starts it again. While all streams come
// back at once every service gets an endpoint more, and each stream must have
// the news of what it calls.
func torn(ctx context.Context, f *fleet, t *table) error {
	if err := f.cp.kill(); err != nil {
		return err
	}
	f.close()
	f.broke = make(chan error, f.c.Proxies) // without what was torn
	began := time.Now()
	if err := f.cp.start(ctx); err != nil {
		return err
	}
	up := time.Since(began)
	// All of the new ones are at 10.250.0.0/16, where nobody was.
	const first = 250 << 16
	var bytes int64
	cpu, after, err := f.cp.spent(func() (err error) {
		_, bytes, err = f.change(ctx, resource.EndpointType, "10.250.", f.c.Proxies, func() error {
			for n := range f.c.Proxies {
				f.connect(ctx, n)
			}
			for svc := range f.c.Services {
				if err := f.cp.put(ctx, f.c.dataplane(first+svc, svc, nil)); err != nil {
					return err
				}
			}
			return nil
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("torn: %w", err)
	}
	t.row("killed and started again: answers REST", "%s", round(up))
	t.row("… and all streams are back, with an endpoint that was added meanwhile", "%s, CPU %s, resident %d MB", round(time.Since(began)), round(cpu), after.resident)
	t.row("… bytes for that, all streams", "%s", size(bytes))
	return nil
}
