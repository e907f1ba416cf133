package envoy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// leastDrain is how long Envoy goes on serving though nothing is under
	// way: callers learn within one endpoint push (500 ms) that it goes.
	leastDrain = time.Second
	drainPoll  = 100 * time.Millisecond
	// termTime is how long Envoy may take to end after SIGTERM.
	termTime = 3 * time.Second
)

// A child is one running Envoy.
type child struct {
	pid  int
	proc *os.Process
	gone chan struct{} // closed when it has ended and its log is read
	err  error         // how it ended; to be read when gone is closed
}

// start starts Envoy, and a goroutine that waits for its end. Envoy does not
// end with ctx: that is for stop to bring about.
func (p *Process) start(ctx context.Context) (*child, error) {
	ctx = context.WithoutCancel(ctx)
	cmd := exec.CommandContext(ctx, p.cfg.Binary, p.args()...)
	cmd.Dir = p.cfg.Dir
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"} // nothing of ours is its business
	out := &logLines{ctx: ctx, log: p.log}
	cmd.Stdout, cmd.Stderr = out, out // one writer: os/exec does not write concurrently
	cmd.WaitDelay = time.Second       // somebody else may hold its output open
	cmd.SysProcAttr = childAttr()

	started := make(chan error)
	c := &child{gone: make(chan struct{})}
	go func() {
		// The kernel ties a child's life to the thread that made it, so that
		// thread must live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		c.proc, c.pid = cmd.Process, cmd.Process.Pid
		if err := raiseFileLimit(c.pid); err != nil {
			p.log.Warn("envoy's limit of open files could not be raised", "pid", c.pid, "err", err)
		}
		close(started)
		c.err = cmd.Wait()
		out.flush()
		close(c.gone)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", p.cfg.Binary, err)
	}
	return c, nil
}

func (p *Process) args() []string {
	args := []string{
		"--config-path", p.cfg.Bootstrap,
		"--disable-hot-restart",
		"--drain-time-s", strconv.Itoa(int(p.cfg.ChangeTime / time.Second)),
		"--drain-strategy", "immediate", // HTTP ends after the answer that is under way
		"--log-level", p.cfg.LogLevel,
		"--log-format", logFormat,
		"--log-format-escaped",
	}
	if p.cfg.Concurrency > 0 {
		args = append(args, "--concurrency", strconv.Itoa(p.cfg.Concurrency))
	}
	return args
}

// stop drains c, then asks it to end, then ends it.
func (p *Process) stop(ctx context.Context, c *child) {
	p.drain(ctx, c)
	_ = c.proc.Signal(syscall.SIGTERM) // fails when it is gone already
	if c.wait(termTime) {
		return
	}
	p.log.Warn("envoy did not end and was killed", "pid", c.pid, "after", termTime)
	_ = c.proc.Kill()
	<-c.gone
}

// drain lets c serve what is under way, for DrainTime at most.
func (p *Process) drain(ctx context.Context, c *child) {
	if p.cfg.DrainTime < 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.DrainTime)
	defer cancel()
	if err := p.admin.Drain(ctx); err != nil {
		p.log.Warn("envoy was not drained", "pid", c.pid, "err", err)
		return
	}
	if c.wait(min(leastDrain, p.cfg.DrainTime)) {
		return
	}
	for {
		switch busy, err := p.busy(ctx); {
		case errors.Is(err, context.DeadlineExceeded):
			p.log.Warn("envoy was stopped with connections open", "pid", c.pid, "after", p.cfg.DrainTime)
			return
		case err != nil || !busy:
			return
		}
		if c.wait(drainPoll) {
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

// wait tells whether c was gone within d.
func (c *child) wait(d time.Duration) bool {
	select {
	case <-c.gone:
		return true
	case <-time.After(d):
		return false
	}
}
