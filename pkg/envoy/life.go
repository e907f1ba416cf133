package envoy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// Run keeps Envoy running until ctx ends, and returns nil. Envoy goes on
// serving then, for the next Run on the same folder to take it back; Stop ends
// it. On systems where a program cannot be left to itself Run stops it.
//
// An Envoy that runs already is taken back where it is certain to be ours. It
// is replaced, with no connection refused and none cut for ChangeTime, where
// its binary, bootstrap or arguments are not what they should be, at the start
// or later. When Envoy dies it is started again, at once the first time and ever
// more slowly while it keeps dying; where what it became last keeps dying, it is
// what it was before.
//
// Run fails only when Envoy cannot be run at all: with ErrBinary, or when Dir
// cannot be used. It may be called once.
func (p *Process) Run(ctx context.Context) error {
	p.mu.Lock()
	p.ran = true
	p.mu.Unlock()
	defer close(p.ended)
	version, err := p.preflight(ctx)
	if err != nil {
		return fmt.Errorf("run Envoy: %w", err)
	}
	p.note(func(s *Status) { s.Version = version })
	p.loadLast()
	p.changed()
	watching, release := context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		select {
		case <-p.stopping:
			p.replaced.Wait() // those that were replaced are ended, and watched until they are
		default:
		}
		release()
		p.replaced.Wait()
	}()
	cur, err := p.takeBack(watching)
	if err != nil {
		return fmt.Errorf("run Envoy: %w", err)
	}
	why := ""
	if cur != nil {
		p.remember(cur)
		why = p.outdated(ctx, cur)
	}
	var again backoff
	for {
		if cur == nil {
			cur, err = p.startAnew(watching, version)
		}
		if err == nil {
			err = p.keep(ctx, watching, cur, why)
		}
		if err == nil {
			return nil
		}
		var died deathError
		lived := time.Duration(0)
		if errors.As(err, &died) {
			lived = died.lived
			if died.killed && lived >= time.Second {
				again = backoff{} // somebody did it, who need not be waited for
			}
		}
		cur, why, err = nil, "", nil
		wait := again.next(lived)
		p.note(func(s *Status) { s.Deaths, s.NextTry = again.deaths, time.Now().Add(wait) })
		if again.deaths == loop {
			p.log.Error("envoy is in a crash loop: it keeps dying soon after its start", "deaths", again.deaths)
		}
		if again.deaths >= loop && p.fallBack() {
			again, wait = backoff{}, 0
		}
		p.log.Warn("envoy will be started again", "in", wait)
		if changed, ended := p.pause(ctx, wait); ended {
			return nil
		} else if changed {
			again = backoff{}
		}
		p.note(func(s *Status) { s.Restarts++; s.NextTry = time.Time{} })
	}
}

// pause waits until Envoy is to be started again: what it is to be may change
// meanwhile, which is a reason to do so at once.
func (p *Process) pause(ctx context.Context, wait time.Duration) (changed, ended bool) {
	late, look := time.NewTimer(wait), time.NewTicker(lookEvery)
	defer late.Stop()
	defer look.Stop()
	for {
		select {
		case <-late.C:
			return false, false
		case <-look.C:
			if p.changed() {
				return true, false
			}
		case c := <-p.changes:
			p.take(c, nil)
			return true, false
		case <-p.stopping:
			p.removeFiles()
			return false, true
		case <-ctx.Done():
			return false, true
		}
	}
}

// Stop lets what is under way end, for DrainTime at most, ends Envoy and
// removes its files. It does so whether Run runs or not, and returns when
// nothing of Envoy is left.
func (p *Process) Stop(ctx context.Context) error {
	p.stopOnce.Do(func() { close(p.stopping) })
	p.mu.Lock()
	ran := p.ran
	p.mu.Unlock()
	if ran {
		select {
		case <-p.ended:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("stop Envoy: %w", ctx.Err())
		}
	}
	if _, err := os.Stat(p.cfg.Dir); errors.Is(err, os.ErrNotExist) {
		p.removeFiles() // not all of them are there
		return nil
	}
	watching, release := context.WithCancel(ctx)
	defer release()
	cur, err := p.takeBack(watching)
	if err != nil {
		return fmt.Errorf("stop Envoy: %w", err)
	}
	if cur != nil {
		p.stop(ctx, cur)
	}
	p.replaced.Wait()
	p.removeFiles()
	return nil
}

// A deathError is the end of an Envoy that nobody asked for.
type deathError struct {
	lived  time.Duration
	killed bool // from outside, and not for want of memory
}

func (e deathError) Error() string { return fmt.Sprintf("it died after %s", e.lived) }

// startAnew starts an Envoy that has no forerunner.
func (p *Process) startAnew(ctx context.Context, version string) (*running, error) {
	r, err := p.launch(ctx, nil)
	if err != nil {
		p.exited(err.Error())
		p.log.Error("envoy could not be started", "binary", p.cfg.Binary, "err", err)
		return nil, err
	}
	p.log.Info("envoy started", "pid", r.pid, "version", version)
	return r, nil
}

// takeBack finds the Envoy that runs already; nil is none. Those that were
// replaced before are seen off.
func (p *Process) takeBack(ctx context.Context) (*running, error) {
	found, err := p.find(ctx)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	newest := found[0]
	for _, r := range found[1:] {
		if r.epoch > newest.epoch {
			newest = r
		}
	}
	for _, r := range found {
		if r != newest {
			p.shares = r
			p.seeOff(ctx, r, newest)
		}
	}
	p.log.Info("envoy was taken back", "pid", newest.pid, "epoch", newest.epoch, "since", newest.since.Format(time.RFC3339))
	return newest, nil
}

// keep watches r, and replaces it where something speaks for that, until it
// dies, which is an error, or until ctx ends or Stop is called.
func (p *Process) keep(ctx, watching context.Context, r *running, why string) error {
	p.is(r)
	var retry <-chan time.Time
	var again backoff
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	proof := time.NewTimer(time.Until(r.since.Add(p.cfg.proof)))
	defer proof.Stop()
	judge := func(why string) {
		retry, again = nil, backoff{}
		p.note(func(s *Status) { s.Kept = "" })
		if why != "" {
			p.log.Info("envoy is to be replaced", "pid", r.pid, "because", why)
			retry = time.After(0)
		}
	}
	judge(why)
	oom := p.oomKills(r.pid)
	limits := r.limits // at the last look
	var free <-chan struct{}
	for {
		select {
		case <-r.gone:
			lived := time.Since(r.since)
			// An older kernel may not tell how it ended, as init was quicker to ask.
			if oom.risen() && (r.exit == exitKilled || r.exit == exitUnknown) {
				r.exit += ", out of memory"
				p.note(func(s *Status) { s.OutOfMemory++ })
			}
			p.exited(r.exit)
			p.log.Error("envoy died", "pid", r.pid, "after", lived.Round(time.Millisecond), "exit", r.exit)
			return deathError{lived, r.exit == exitKilled}
		case <-p.stopping:
			p.stop(context.WithoutCancel(ctx), r)
			p.exited(r.exit)
			p.log.Info("envoy stopped", "pid", r.pid, "exit", r.exit)
			p.removeFiles()
			return nil
		case <-ctx.Done():
			if !outlives {
				p.stop(context.WithoutCancel(ctx), r)
			}
			p.log.Info("envoy goes on without this agent", "pid", r.pid)
			return nil
		case <-look.C:
			if p.changed() {
				p.remember(r)
				judge(p.outdated(ctx, r))
			}
			now := limitsOf(r.pid)
			if now == limits && now != r.limits { // and nobody is at it any more
				p.remember(r)
				p.log.Info("envoy's cgroup lets it have something else", "pid", r.pid, "memory", now.Memory, "cores", now.Cores)
				r.limits, p.limits = now, now
				p.note(func(s *Status) { s.Limits = now })
				judge(p.outdated(ctx, r))
			}
			limits = now
		case c := <-p.changes:
			p.remember(r)
			p.take(c, r)
			judge(p.outdated(ctx, r))
		case <-proof.C:
			p.prove(r)
		case <-free:
			free, retry = nil, time.After(0)
		case <-retry:
			// A third would have Envoy end the first, with what is under way there.
			if f := p.former; f != nil && !f.wait(0) {
				p.log.Info("envoy is replaced when the one before it has ended", "pid", r.pid, "before", f.pid)
				free, retry = f.gone, nil
				continue
			}
			next, err := p.replace(ctx, watching, r)
			if err != nil {
				wait := max(again.next(0), time.Second)
				p.note(func(s *Status) { s.Kept = err.Error() })
				p.log.Error("envoy could not be replaced, the former serves on", "pid", r.pid, "error", err, "again in", wait)
				retry = time.After(wait)
				continue
			}
			retry = nil
			p.seeOff(watching, r, next)
			p.log.Info("envoy was replaced", "pid", next.pid, "epoch", next.epoch, "version", p.Status().Version, "former", r.pid)
			r = next
			proof.Reset(p.cfg.proof)
			p.is(r)
			oom, limits = p.oomKills(r.pid), r.limits
		}
	}
}

// is notes that r is Envoy now.
func (p *Process) is(r *running) {
	f, err := p.form(r.limits)
	fallen := err == nil && p.fallen(f)
	p.note(func(s *Status) {
		s.PID, s.Epoch, s.Since, s.User, s.Limits, s.Kept = r.pid, r.epoch, r.since, nameOf(r.as), r.limits, ""
		s.FellBack = fallen
	})
}

func (p *Process) exited(how string) {
	p.note(func(s *Status) {
		s.PID, s.Epoch, s.Since = 0, 0, time.Time{}
		s.LastExit, s.ExitedAt = how, time.Now()
	})
}

// stop drains r, then ends it.
func (p *Process) stop(ctx context.Context, r *running) {
	p.drain(ctx, r)
	p.end(r)
}
