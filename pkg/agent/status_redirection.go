package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// A LeaseStatus tells of a fail-open host's lease.
type LeaseStatus struct {
	For  time.Duration `json:"for"`  // in nanoseconds; 0: the host never opens by itself
	Left time.Duration `json:"left"` // 0: it has run out
	// Unwell is why it was not renewed last.
	Unwell string `json:"unwell,omitempty"`
}

// lookAtRedirection finds what is in force and what should be. Without a
// choice of the engine it makes one.
func (s *Status) lookAtRedirection(ctx context.Context, cfg Config, choice Choice, rules redirect.Rules) (err error) {
	if !cfg.Redirect {
		return nil
	}
	if s.Switch, err = cfg.Switch(); err != nil {
		return err
	}
	rules, on := s.Switch.under(rules, time.Now())
	if !on {
		return nil
	}
	if choice.redirector == nil {
		if choice, err = cfg.Choose(ctx, rules); err != nil {
			return err
		}
	}
	s.Engine = choice
	if s.Redirection, err = choice.redirector.Check(ctx, rules); err != nil {
		return err
	}
	leaser, ok := choice.redirector.(redirect.Leaser)
	if !ok || len(s.Redirection) > 0 {
		return nil
	}
	left, err := leaser.Remaining(ctx, rules.Table)
	if err != nil {
		return err
	}
	s.Lease.For, s.Lease.Left = rules.FailOpen, left.FailOpen
	if rules.ConfirmWithin != 0 && left.Trial == 0 {
		s.Redirection = []redirect.Difference{{What: "the trial", Is: "over before its time", Remedy: "weft-agent redirect apply starts again"}}
	}
	return nil
}

// captured says in a few words what is redirected.
func (c *Config) captured() string {
	text := "outbound TCP, DNS"
	switch {
	case c.Gateway:
	case c.Inbound == inboundAll:
		text = "inbound to all ports, " + text
	default:
		text = fmt.Sprintf("inbound %d, ", c.Port) + text
	}
	if len(c.Only) > 0 {
		text += " of " + strings.Join(c.Only, ", ")
	}
	if len(c.Forwarded) > 0 {
		text += ", and what is forwarded from " + strings.Join(c.Forwarded, ", ")
	}
	return text
}

func redirectionCheck(cfg Config, s Status, err error, now time.Time) Check {
	c := Check{Name: "redirection", Remedy: "weft-agent redirect check lists all; weft-agent redirect apply mends them"}
	paused := s.Kept.PausedUntil
	switch differences := s.Redirection; {
	case !cfg.Redirect:
		c.OK, c.Text = true, "off, as configured"
	case err != nil:
		c.Text = err.Error()
	case !s.Switch.On(now):
		c.Text, c.Remedy = s.Switch.Text(now), s.Switch.Remedy()
	case len(differences) == 0 && s.Lease.For != 0 && s.Lease.Left == 0:
		c.Text = fmt.Sprintf("open: outbound and DNS go out around Envoy, as nobody has renewed the lease of %s", s.Lease.For)
		if s.Lease.Unwell != "" {
			c.Text += ": " + s.Lease.Unwell
		}
		c.Remedy = "the agent renews it as soon as Envoy and DNS answer; inbound calls are never let past Envoy"
	case len(differences) == 0:
		c.OK, c.Text = true, fmt.Sprintf("in force by %s, table %s: %s", s.Engine, cfg.RedirectTable, cfg.captured())
	default:
		c.Text = fmt.Sprintf("%s is %s", differences[0].What, differences[0].Is)
		if more := len(differences) - 1; more > 0 {
			c.Text += fmt.Sprintf(", and %d more", more)
		}
	}
	if !s.Switch.Trial.IsZero() && s.Switch.On(now) {
		c.Text += fmt.Sprintf("; %s: weft-agent redirect confirm makes it stay", s.Switch.Text(now))
	}
	if last := s.Kept.Last; s.Kept.Mends > 0 {
		c.Text += fmt.Sprintf("; mended %d times, last %s ago", s.Kept.Mends, ago(now, last.At))
		if last.By != "" {
			c.Text += " after " + last.By
		}
	}
	if paused.After(now) {
		c.OK = false
		c.Text += fmt.Sprintf("; somebody undoes it again and again, the next mend is in %s", until(now, paused))
		c.Remedy = "find out who does, and stop it; or weft-agent redirect remove"
	}
	return c
}
