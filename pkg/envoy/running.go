package envoy

import (
	"context"
	"errors"
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
	as    *User    // nil: who runs this program
	// limits are what it has been started with.
	limits Limits
	since  time.Time
	// signal reaches this process, and no other that has its number later.
	signal func(os.Signal) error
	gone   chan struct{} // closed when it has ended and its log is read
	left   chan struct{} // closed when it is watched no more, though it goes on
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

// end asks r to end, then ends it. Windows asks nobody.
func (p *Process) end(r *running) {
	if err := r.signal(syscall.SIGTERM); !errors.Is(err, errors.ErrUnsupported) { // else it is gone, or was asked
		if r.wait(termTime) {
			return
		}
		p.log.Warn("envoy did not end and was killed", "pid", r.pid, "after", termTime)
	}
	_ = r.signal(syscall.SIGKILL)
	select {
	case <-r.gone:
	case <-r.left:
	}
}

// seeOff waits for a replaced Envoy to end, which its successor tells it to,
// and ends it where nobody does. What they had in common is the successor's
// alone then.
func (p *Process) seeOff(ctx context.Context, r, successor *running) {
	life, home := p.lifeOfReplaced(), p.home()
	p.former = r
	p.replaced.Go(func() {
		late := time.NewTimer(life)
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
		if err := p.closeHome(home, r, successor); err != nil && !errors.Is(err, os.ErrNotExist) {
			p.log.Warn("envoy's folder was not closed to the user of the former", "error", err)
		}
		p.log.Info("envoy that was replaced has ended", "pid", r.pid, "epoch", r.epoch, "exit", r.exit)
	})
}

// shareHome gives the folder that Envoy works in to the next one, whose user is
// next, and leaves it to old, which is to hand over.
func (p *Process) shareHome(old *running, next *User) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shares = old
	return giveHome(p.home(), next, old.as)
}

// closeHome makes that folder the successor's alone, unless somebody else than
// gone has a part in it.
func (p *Process) closeHome(dir string, gone, successor *running) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shares != gone {
		return nil
	}
	p.shares = nil
	return giveHome(dir, successor.as, nil)
}
