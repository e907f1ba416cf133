package agent

import "context"

// An early part runs beside what prepares the rest, and is taken in later.
type early struct {
	stop context.CancelFunc
	done chan struct{}
	err  error // once done is closed
}

// begin starts f. It goes on when ctx ends, until it is stopped.
func begin(ctx context.Context, f func(context.Context) error) *early {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	p := &early{stop: stop, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = f(ctx)
	}()
	return p
}

// run waits until the part ends, and ends it when ctx ends.
func (p *early) run(ctx context.Context) error {
	select {
	case <-p.done:
	case <-ctx.Done():
	}
	p.end()
	return p.err
}

func (p *early) end() {
	p.stop()
	<-p.done
}

// beginNames answers queries by what was last known.
func (w *Workload) beginNames(ctx context.Context) {
	w.relay.Open(w.envoy.Runs())
	w.names = begin(ctx, w.dns.Run)
}

// answerNames goes on with that.
func (w *Workload) answerNames(ctx context.Context) error { return w.names.run(ctx) }

// endNames ends it where the workload is not run after all.
func (w *Workload) endNames() {
	if w.names != nil {
		w.names.end()
	}
}
