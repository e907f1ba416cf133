package agent

import (
	"context"
	"errors"
	"time"

	"github.com/weft-mesh/weft/pkg/envoy"
	"github.com/weft-mesh/weft/pkg/proxy"
	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/nftables"
	"github.com/weft-mesh/weft/pkg/redirect/probe"
)

// ErrOff: the redirection is off by its owner's word.
var ErrOff = errors.New("the redirection is off")

// inForce are the rules as the switch wants them now, their engine, and what
// has run out.
type inForce struct {
	rules                redirect.Rules
	choice               Choice
	leaseOver, trialOver bool
}

func (c *Config) inForce(ctx context.Context) (f inForce, err error) {
	if f.rules, err = c.Rules(); err != nil {
		return f, err
	}
	state, err := c.Switch()
	if err != nil {
		return f, err
	}
	rules, on := state.under(f.rules, time.Now())
	if !on {
		return f, offError{state}
	}
	f.rules = rules
	if f.choice, err = c.Choose(ctx, f.rules); err != nil {
		return f, err
	}
	leaser, ok := f.choice.redirector.(redirect.Leaser)
	if !ok || f.rules.FailOpen == 0 && f.rules.ConfirmWithin == 0 {
		return f, nil
	}
	left, err := leaser.Remaining(ctx, f.rules.Table)
	f.leaseOver = f.rules.FailOpen != 0 && left.FailOpen == 0
	f.trialOver = f.rules.ConfirmWithin != 0 && left.Trial == 0
	return f, err
}

// An offError says since when, and what turns it on.
type offError struct{ Switch }

func (e offError) Error() string {
	return "the redirection is " + e.Text(time.Now()) + "; " + e.Remedy()
}

func (e offError) Unwrap() error { return ErrOff }

// ProbeRedirection sends probes through this host's redirection. With inside
// it leaves out calls from outside, which take an interface more for a moment.
func ProbeRedirection(ctx context.Context, cfg Config, inside bool) (probe.Report, error) {
	f, err := cfg.inForce(ctx)
	if err != nil {
		return probe.Report{}, err
	}
	p := probe.Prober{Rules: f.rules, Domain: proxy.Domain, Engine: f.choice.redirector, Tracer: nftables.Tracer{},
		LeaseOver: f.leaseOver, TrialOver: f.trialOver, Inside: inside}
	return p.Run(ctx)
}

// Launched does what this process was started for, where that is to start Envoy.
func Launched() (was bool, code int) { return envoy.Launched() }

// ProbeChild runs a child of a probe, where this process is one.
func ProbeChild() (was bool, code int) { return probe.Child() }
