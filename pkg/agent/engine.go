package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/ebpf"
	"github.com/weft-mesh/weft/pkg/redirect/iptables"
	"github.com/weft-mesh/weft/pkg/redirect/nftables"
)

// engineAuto is the owner's word for the first engine that this host can have.
const engineAuto = "auto"

// An engine is one way to change a host's network.
type engine struct {
	name  string
	make  func(c *Config) redirect.Redirector
	asked bool // auto never takes it
}

// engines are all that there are, in the order in which auto tries them.
var engines = []engine{
	{name: "nftables", make: func(*Config) redirect.Redirector { return nftables.New() }},
	{name: "iptables", make: func(*Config) redirect.Redirector { return iptables.New() }},
	{name: "ebpf", make: func(c *Config) redirect.Redirector { return ebpf.New(ebpf.WithCgroup(c.RedirectCgroup)) }, asked: true},
}

func engineNames() []string {
	names := []string{engineAuto}
	for _, e := range engines {
		names = append(names, e.name)
	}
	return names
}

// A Choice is the engine by which this host is redirected.
type Choice struct {
	Engine string `json:"engine"`
	// Why it is this one, such as "as configured".
	Why string `json:"why"`

	redirector redirect.Redirector
	proved     bool // it can have the rules that it was chosen for
}

func (c Choice) String() string { return c.Engine + " (" + c.Why + ")" }

// Choose takes the configured engine; for auto, the first one by which this
// host can have the rules. The kernel is asked, nothing is changed, and what was
// asked for by name is never silently another.
func (c *Config) Choose(ctx context.Context, rules redirect.Rules) (Choice, error) {
	return c.choose(ctx, rules, engines)
}

func (c *Config) choose(ctx context.Context, rules redirect.Rules, of []engine) (Choice, error) {
	if name := c.RedirectEngine; name != engineAuto {
		i := slices.IndexFunc(of, func(e engine) bool { return e.name == name })
		if i < 0 {
			return Choice{}, fmt.Errorf("redirectEngine: %q is none of %s", name, strings.Join(engineNames(), ", "))
		}
		return Choice{Engine: name, Why: "as configured", redirector: of[i].make(c)}, nil
	}
	var lacking []error
	for _, e := range of {
		if e.asked {
			continue
		}
		choice := Choice{Engine: e.name, Why: "auto: this kernel has what it takes", redirector: e.make(c)}
		err := choice.probe(ctx, rules)
		if err == nil {
			choice.proved = true
			if len(lacking) > 0 {
				choice.Why = fmt.Sprintf("auto, for want of better: %v", errors.Join(lacking...))
			}
			return choice, nil
		}
		if !errors.Is(err, redirect.ErrNotSupported) {
			return Choice{}, err // rights, say: another engine would not be better off
		}
		lacking = append(lacking, fmt.Errorf("%s: %w", e.name, err))
	}
	return Choice{}, fmt.Errorf("this host can be redirected by no engine that auto takes: %w", errors.Join(lacking...))
}

// prove finds what the kernel lacks of the rules that the engine was chosen
// for, unless the choice has shown it already.
func (c Choice) prove(ctx context.Context, rules redirect.Rules) error {
	if c.proved {
		return nil
	}
	return c.probe(ctx, rules)
}

// probe finds what the kernel lacks before anything is touched.
func (c Choice) probe(ctx context.Context, rules redirect.Rules) error {
	if p, ok := c.redirector.(redirect.Prober); ok {
		return p.Probe(ctx, rules)
	}
	return nil
}

// retire takes off what other engines have in force under that table's name.
// It is called when the chosen one is in force, so that the host is at no
// moment without redirection.
func (c Choice) retire(ctx context.Context, table string) error {
	return removeAll(ctx, table, c.Engine)
}

// removeAll takes a table's redirection off by every engine but one, since
// rules do not tell who put them there.
//
// An engine that this process has no right to is passed over where it has the
// right to another: it cannot have used it.
func removeAll(ctx context.Context, table, except string) error {
	var (
		errs, forbidden []error
		one             = except != "" // which it has in force
	)
	for _, e := range engines {
		if e.name == except {
			continue
		}
		err := e.make(new(Config)).Remove(ctx, table)
		switch {
		case errors.Is(err, redirect.ErrNotPermitted):
			forbidden = append(forbidden, err)
		case err != nil:
			errs = append(errs, err)
		default:
			one = true
		}
	}
	if !one {
		errs = append(errs, forbidden...)
	}
	return errors.Join(errs...)
}
