package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// ErrNoTrial: there is no redirection on trial that could be confirmed.
var ErrNoTrial = errors.New("nothing to confirm")

// ApplyRedirection puts cfg's redirection in force by command, and lets a
// running agent keep it. With confirmWithin it does so on trial: unless it is
// confirmed in that time, the kernel itself ends it. Where it fails the switch
// is as it was.
func ApplyRedirection(ctx context.Context, cfg Config, confirmWithin time.Duration) (Choice, error) {
	rules, err := cfg.Rules()
	if err != nil {
		return Choice{}, err
	}
	rules.ConfirmWithin = confirmWithin
	if err := rules.Validate(); err != nil {
		return Choice{}, err
	}
	if err := apart(ctx, rules, 0); err != nil {
		return Choice{}, err
	}
	choice, err := cfg.Choose(ctx, rules)
	if err != nil {
		return choice, err
	}
	return choice, cfg.put(ctx, choice, rules)
}

// put turns the switch before it applies, so that a running agent does not
// undo it, and back when that fails.
func (c *Config) put(ctx context.Context, choice Choice, rules redirect.Rules) error {
	if err := choice.prove(ctx, rules); err != nil {
		return err
	}
	before, readErr := c.Switch()
	var next Switch
	if rules.ConfirmWithin != 0 {
		next.Trial = time.Now().Add(rules.ConfirmWithin)
	}
	if err := c.turn(next); err != nil {
		return err
	}
	err := choice.redirector.Apply(ctx, rules)
	if err != nil {
		if readErr == nil {
			err = errors.Join(err, c.turn(before))
		}
		return err
	}
	if err := c.remember(choice, rules); err != nil {
		return fmt.Errorf("the redirection is in force, but would not be after a boot: %w", err)
	}
	if err := choice.retire(ctx, rules.Table); err != nil {
		return fmt.Errorf("the redirection is in force by %s, but what another engine had was not taken off: %w", choice.Engine, err)
	}
	return nil
}

// ConfirmRedirection makes a redirection on trial stay. It fails with
// ErrNoTrial where none is, or no more, or where it is no longer what was tried.
func ConfirmRedirection(ctx context.Context, cfg Config) (Choice, error) {
	rules, err := cfg.Rules()
	if err != nil {
		return Choice{}, err
	}
	state, err := cfg.Switch()
	if err != nil {
		return Choice{}, err
	}
	const again = "begin one with weft-agent redirect apply --confirm-within 60s"
	if state.Trial.IsZero() {
		return Choice{}, fmt.Errorf("%w: the redirection is %s; %s", ErrNoTrial, state.Text(time.Now()), again)
	}
	tried, on := state.under(rules, time.Now())
	choice, err := cfg.Choose(ctx, tried)
	if err != nil {
		return choice, err
	}
	if leaser, ok := choice.redirector.(redirect.Leaser); ok && on {
		left, err := leaser.Remaining(ctx, rules.Table)
		if err != nil {
			return choice, err
		}
		on = left.Trial != 0
	}
	if !on {
		return Choice{}, fmt.Errorf("%w: the trial is over, and the redirection off; %s", ErrNoTrial, again)
	}
	differences, err := choice.redirector.Check(ctx, tried)
	if err != nil {
		return choice, err
	}
	if len(differences) > 0 {
		return Choice{}, fmt.Errorf("%w: what was tried is not what the configuration wants now (%s is %s); %s", ErrNoTrial, differences[0].What, differences[0].Is, again)
	}
	return choice, cfg.put(ctx, choice, rules)
}

// RemoveRedirection takes the redirection off by command, whatever engine it
// is by. A running agent leaves it off, and so does one that starts later.
func RemoveRedirection(ctx context.Context, cfg Config) error {
	now, err := cfg.Switch()
	if err != nil || now.Off.IsZero() {
		now = Switch{Off: time.Now().Truncate(time.Second)}
	}
	// First, so that the agent does not mend it. Whether or not it works, the
	// host is opened: that is what was asked.
	err = cfg.turn(now)
	if err != nil {
		err = fmt.Errorf("tell the agent to leave the redirection off: %w", err)
	}
	off := removeAll(ctx, cfg.RedirectTable, "")
	if !cfg.Redirect && errors.Is(off, redirect.ErrNotPermitted) {
		off = nil // who may not, and does not want to, has put nothing in force
	}
	return errors.Join(err, off)
}

// CheckRedirection tells how the switch stands and, where it is on, how the
// host differs from what cfg wants.
func CheckRedirection(ctx context.Context, cfg Config) (Switch, []redirect.Difference, error) {
	rules, err := cfg.Rules()
	if err != nil {
		return Switch{}, nil, err
	}
	s := Status{}
	cfg.Redirect = true // it is asked for by name
	err = s.lookAtRedirection(ctx, cfg, Choice{}, rules)
	return s.Switch, s.Redirection, err
}

// wish is the redirection that the configuration of now asks for.
func (w *Workload) wish() redirect.Rules {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rules
}

// wanted is what the keeper is to keep.
func (w *Workload) wanted() (redirect.Rules, bool, error) {
	rules := w.wish()
	s, err := w.cfg.Switch()
	if err != nil {
		return rules, false, err
	}
	if rules.Inbound.All {
		// sshd may have come to listen at another port meanwhile.
		if now, err := w.now.Load().Rules(); err == nil {
			rules = now
		}
	}
	rules, on := s.under(rules, time.Now())
	return rules, on, nil
}

// prepareRedirection chooses the engine and finds what it would fail at.
func (w *Workload) prepareRedirection(ctx context.Context) (err error) {
	if !w.cfg.Redirect {
		return nil
	}
	if err := w.cfg.Guard(w.rules, nil); err != nil {
		return err
	}
	if err := apart(ctx, w.rules, os.Getpid()); err != nil {
		return err
	}
	if w.choice, err = w.cfg.Choose(ctx, w.rules); err != nil {
		return err
	}
	w.keeper.Engine = w.choice.redirector
	if err := w.choice.prove(ctx, w.rules); err != nil {
		return err
	}
	if _, err := w.choice.redirector.Check(ctx, w.rules); err != nil {
		return fmt.Errorf("look at this host's redirection: %w", err)
	}
	return nil
}

// redirect points the host's traffic at Envoy as soon as Envoy can serve it,
// and keeps it so. Until then the host stays as it was: open on the first
// start, closed where the rules of an earlier one are in force.
func (w *Workload) redirect(ctx context.Context) error {
	if !w.cfg.Redirect {
		close(w.applied)
		return nil
	}
	for _, ready := range []<-chan struct{}{w.relay.Synced(), w.dns.Ready()} {
		select {
		case <-ready:
		case <-ctx.Done():
			return nil
		}
	}
	on, err := w.keeper.Apply(ctx)
	w.mu.Lock()
	w.redirected = err
	w.mu.Unlock()
	close(w.applied)
	switch {
	case err != nil:
		return fmt.Errorf("redirect this host's traffic: %w", err)
	case on:
		w.remember()
		w.log.Info("traffic redirected", "engine", w.choice.Engine, "why", w.choice.Why, "table", w.cfg.RedirectTable, "inbound_port", w.cfg.Port)
		if _, doors, err := w.cfg.RulesAndDoors(); err == nil && len(doors) > 0 {
			w.log.Info("ports left open", "doors", doors)
		}
		if err := w.choice.retire(ctx, w.cfg.RedirectTable); err != nil {
			w.log.Warn("what another engine had in force was not taken off", "error", err, "remedy", "weft-agent redirect remove, then apply")
		}
	default:
		s, err := w.cfg.Switch()
		w.log.Warn("traffic was not redirected", "redirection", s.Text(time.Now()), "error", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.keep(ctx) })
	g.Go(func() error { return w.holdLease(ctx) })
	return g.Wait()
}

// keep keeps the redirection as it is wanted, and puts in force what it changes
// to.
func (w *Workload) keep(ctx context.Context) error {
	for {
		keeping, stop := context.WithCancel(ctx)
		other := make(chan struct{})
		go func() {
			defer close(other)
			select {
			case <-w.changed:
				stop()
			case <-keeping.Done():
			}
		}()
		err := w.keeper.Run(keeping)
		stop()
		<-other
		if err != nil || ctx.Err() != nil {
			return err
		}
		on, err := w.keeper.Apply(ctx)
		if err != nil && ctx.Err() == nil {
			w.log.Error("changed redirection was not put in force, trying on", "error", err)
		}
		if on {
			w.remember()
		}
	}
}

// remember keeps for the next boot what is in force. Without it the host would
// be open then until the agent is there, which is worth a word and no more.
func (w *Workload) remember() {
	rules, _, err := w.wanted()
	if err == nil {
		err = w.now.Load().remember(w.choice, rules)
	}
	if err != nil {
		w.log.Warn("redirection was not kept for the next boot", "error", err)
	}
}
