package envoy

import (
	"context"
	"os"
	"syscall"
	"time"
)

// termTime is how long Envoy may take to end after SIGTERM.
const termTime = 3 * time.Second

// A running is one Envoy that runs, whoever started it.
type running struct {
	pid   int
	epoch int
	args  []string // without the program's name
	since time.Time
	// signal reaches this process, and no other that has its number later.
	signal func(os.Signal) error
	gone   chan struct{} // closed when it has ended and its log is read
	exit   string        // how it ended; to be read when gone is closed
}

// wait tells whether r was gone within d.
func (r *running) wait(d time.Duration) bool {
	select {
	case <-r.gone:
		return true
	case <-time.After(d):
		return false
	}
}

// end asks r to end, then ends it.
func (p *Process) end(r *running) {
	_ = r.signal(syscall.SIGTERM) // fails when it is gone already
	if r.wait(termTime) {
		return
	}
	p.log.Warn("envoy did not end and was killed", "pid", r.pid, "after", termTime)
	_ = r.signal(syscall.SIGKILL)
	<-r.gone
}

// seeOff waits for a replaced Envoy to end, which its successor tells it to,
// and ends it where nobody does.
func (p *Process) seeOff(ctx context.Context, r *running) {
	p.replaced.Go(func() {
		late := time.NewTimer(p.lifeOfReplaced())
		defer late.Stop()
		select {
		case <-r.gone:
		case <-late.C:
			p.end(r)
		case <-p.stopping:
			p.end(r)
		case <-ctx.Done():
			return
		}
		p.log.Info("envoy that was replaced has ended", "pid", r.pid, "epoch", r.epoch, "exit", r.exit)
	})
}
