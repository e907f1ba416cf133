// Package envoy runs an Envoy on this host: it starts it, passes on its log,
// starts it again when it dies, and lets its connections end before it stops it.
//
// What Envoy does is not its business: bootstrap/ writes the file that Envoy
// starts from, render/ what it is told afterwards.
package envoy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// A Config says how Envoy is run.
type Config struct {
	Binary    string // path of Envoy
	Bootstrap string // path of its bootstrap
	// Dir is Envoy's working folder, made with mode 0700 when it is missing.
	Dir         string
	AdminSocket string // as in the bootstrap
	Concurrency int    // worker threads; 0: one a core
	LogLevel    string // trace, debug, info, warning, error; default warning, since Envoy lists all of itself at info
	// DrainTime is how long connections may take to end when Envoy is
	// stopped. Default 5 s; below 0 stops it without a word.
	DrainTime time.Duration
	// ChangeTime is how long connections live on that came by a listener which
	// has changed since, in whole seconds. Default 30 s.
	ChangeTime time.Duration
	Log        *slog.Logger // default slog.Default()
}

// A Process is one Envoy, whatever the number of times it had to be started.
type Process struct {
	cfg   Config
	admin *Admin
	log   *slog.Logger

	mu     sync.Mutex
	status Status
}

// New returns a Process; Run starts it.
func New(c Config) *Process {
	if c.LogLevel == "" {
		c.LogLevel = "warning"
	}
	if c.DrainTime == 0 {
		c.DrainTime = 5 * time.Second
	}
	if c.ChangeTime == 0 {
		c.ChangeTime = 30 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return &Process{cfg: c, admin: NewAdmin(c.AdminSocket), log: c.Log}
}

// A Status is how Envoy was when asked.
type Status struct {
	PID      int       `json:"pid"`               // 0: not running
	Since    time.Time `json:"since,omitzero"`    // of this PID
	Restarts int       `json:"restarts"`          // how often it died and was started again
	LastExit string    `json:"lastExit,omitzero"` // "signal: killed", "exit status 1", …
	ExitedAt time.Time `json:"exitedAt,omitzero"` // of LastExit
}

// Status tells how Envoy is.
func (p *Process) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// Run keeps Envoy running until ctx ends, then drains and stops it, and
// returns nil: nothing of Envoy is left then. When Envoy dies it is started
// again, at once the first time and ever more slowly while it keeps dying.
//
// Run fails only when Envoy cannot be run at all: with ErrBinary, or when Dir
// or the bootstrap cannot be used. It may be called once.
//
// Envoy does not outlive the program that runs it: when that is killed, the
// kernel kills Envoy.
func (p *Process) Run(ctx context.Context) error {
	version, err := p.preflight(ctx)
	if err != nil {
		return fmt.Errorf("run Envoy: %w", err)
	}
	var again backoff
	for {
		lived, died := p.once(ctx, version)
		if !died {
			return nil
		}
		wait := again.next(lived)
		p.log.Warn("envoy will be started again", "in", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
		p.mu.Lock()
		p.status.Restarts++
		p.mu.Unlock()
	}
}

// preflight returns Envoy's version, or why there is no use in starting it.
func (p *Process) preflight(ctx context.Context) (string, error) {
	if err := os.MkdirAll(p.cfg.Dir, 0o700); err != nil {
		return "", fmt.Errorf("make its folder: %w", err)
	}
	if err := os.Chmod(p.cfg.Dir, 0o700); err != nil {
		return "", fmt.Errorf("close its folder to others: %w", err)
	}
	if _, err := os.Stat(p.cfg.Bootstrap); err != nil {
		return "", fmt.Errorf("read its bootstrap: %w", err)
	}
	return Check(ctx, p.cfg.Binary)
}

// once runs one Envoy, and returns how long it lived and whether it died by
// itself: else ctx has ended, and Envoy with it.
func (p *Process) once(ctx context.Context, version string) (lived time.Duration, died bool) {
	began := time.Now()
	c, err := p.start(ctx)
	if err != nil {
		p.exited(err)
		p.log.Error("envoy could not be started", "binary", p.cfg.Binary, "err", err)
		return 0, true
	}
	p.mu.Lock()
	p.status.PID, p.status.Since = c.pid, began
	p.mu.Unlock()
	p.log.Info("envoy started", "pid", c.pid, "version", version)

	select {
	case <-c.gone:
		p.exited(c.err)
		p.log.Error("envoy died", "pid", c.pid, "after", time.Since(began).Round(time.Millisecond), "exit", exitText(c.err))
		return time.Since(began), true
	case <-ctx.Done():
		p.stop(context.WithoutCancel(ctx), c)
		p.exited(c.err)
		p.log.Info("envoy stopped", "pid", c.pid, "exit", exitText(c.err))
		return time.Since(began), false
	}
}

func (p *Process) exited(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.PID, p.status.Since = 0, time.Time{}
	p.status.LastExit, p.status.ExitedAt = exitText(err), time.Now()
}

func exitText(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// ErrBinary is what Check's errors wrap.
var ErrBinary = errors.New("no usable Envoy")
