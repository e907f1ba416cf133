//go:build linux

package nftables

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/pending"
	"github.com/weft-mesh/weft/pkg/redirect/route"
)

// ErrNotOurs: a table of the wanted name, or a route to a wanted range, belongs
// to somebody else. It is left as it is.
var ErrNotOurs = route.ErrNotOurs

// An Engine redirects by nftables. It acts on the network namespace of the
// calling thread, keeps no state and may be used concurrently.
type Engine struct{}

var (
	_ redirect.Redirector = (*Engine)(nil)
	_ redirect.Prober     = (*Engine)(nil)
	_ redirect.Recaller   = (*Engine)(nil)
)

// New makes an engine. It touches nothing.
func New() *Engine { return new(Engine) }

// applyAttempts bounds how often Apply and Remove start anew when somebody else writes
// between reading and writing.
const applyAttempts = 10

// Apply puts rules in force: the routes first, which are harmless alone, then
// the whole table in one transaction. Established connections are not touched.
// With the same rules again it writes nothing, but for the time of a trial,
// which begins anew. Once it has written, calls that began without the rules and
// wait for an answer meet them when they ask again. Errors wrap redirect.ErrInvalid,
// ErrNotPermitted, ErrNotSupported or this package's ErrNotOurs.
func (e *Engine) Apply(ctx context.Context, r redirect.Rules) error {
	if err := r.Validate(); err != nil {
		return err
	}
	want, err := wish(r)
	if err != nil {
		return wrap("apply", r.Normal().Table, err)
	}
	written := false
	for attempt := 1; ; attempt++ {
		wrote, err := apply(ctx, want)
		written = written || wrote
		if err == nil && written {
			return wrap("apply", want.table, pending.Forget(r))
		}
		if err == nil || !transient(err) || attempt == applyAttempts {
			return wrap("apply", want.table, diagnose(want, err, probe))
		}
	}
}

// wish is the ruleset of valid rules on this host, now.
func wish(r redirect.Rules) (ruleset, error) {
	r = r.Normal()
	c, err := find(r)
	if err != nil {
		return ruleset{}, err
	}
	return build(r, c), nil
}

func wrap(verb, table string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s redirection in table inet %s: %w", verb, table, err)
}

// Recall deletes what connection tracking has of calls that nobody has answered
// and that would have been redirected.
func (e *Engine) Recall(ctx context.Context, r redirect.Rules) error {
	if err := errors.Join(ctx.Err(), r.Validate()); err != nil {
		return err
	}
	return wrap("recall", r.Normal().Table, pending.Forget(r))
}

func apply(ctx context.Context, want ruleset) (wrote bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	have, err := read(want.table)
	if err != nil {
		return false, err
	}
	table, err := compareTable(want, have)
	if err != nil {
		return false, err
	}
	for _, d := range table {
		if d.Is == isNotOurs && d.Remedy != applyDelete {
			return false, fmt.Errorf("%s is %w: %s", d.What, ErrNotOurs, d.Remedy)
		}
	}
	routes := have.routes.Plan(want.routes, have.otherVIPs)
	if err := routes.Refused(); err != nil {
		return false, err
	}
	up, err := route.LoopbackUp()
	if err != nil {
		return false, err
	}
	if !up {
		return false, errors.New("the loopback device is down, and redirected connections go through it: ip link set lo up")
	}
	if err := routes.Mend(); err != nil {
		return false, err
	}
	trial, onTrial := want.trial()
	switch {
	case len(table) > 0:
		err = write(want, have)
	case onTrial:
		err = commit(want.table, func(t *transaction) error { return t.renew(trial) })
	}
	if err != nil {
		return false, err
	}
	return len(table) > 0 || onTrial, routes.DeleteStale()
}

// write changes the table in one transaction. Where rules are in force already,
// others before it make ready what it needs.
func write(want ruleset, have held) error {
	missing := want.prepared(have)
	for i, step := range want.steps(have) {
		err := commit(want.table, step.fill)
		if err != nil && i > 0 { // whole or not at all
			_ = commit(want.table, func(t *transaction) error {
				for _, s := range missing {
					t.deleteSet(s.name)
				}
				return nil
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// A step is one transaction, and the rules that it speaks of.
type step struct {
	rules ruleset
	fill  func(t *transaction) error
}

// steps are the transactions that lead from what is held to want.
func (want ruleset) steps(have held) (out []step) {
	if missing := want.prepared(have); len(missing) > 0 {
		out = append(out, step{want, func(t *transaction) error { return t.prepare(missing) }})
		have.sets = slices.Clone(have.sets)
		for _, s := range missing {
			have.sets = append(have.sets, s.asHeld())
		}
	}
	if via, ok := want.via(have); ok {
		before := have
		out = append(out, step{via, func(t *transaction) error { return t.replace(via, before) }})
		have = via.held()
	}
	return append(out, step{want, func(t *transaction) error { return t.replace(want, have) }})
}

// via is where rules that keep destinations come from rules that rewrite them: a
// packet that met the old chain of the earlier hook, which took no notice of it,
// must not meet the new one of the later hook, which leaves it alone.
func (want ruleset) via(have held) (ruleset, bool) {
	holds := func(name string) bool {
		return slices.ContainsFunc(have.chains, func(h heldChain) bool { return h.name == name })
	}
	i := slices.IndexFunc(want.chains, func(c chain) bool { return c.name == chainInboundNAT })
	if want.rewriting == nil || i < 0 || holds(chainInbound) || !holds(chainInboundNAT) {
		return ruleset{}, false
	}
	via := want
	via.chains = slices.Clone(want.chains)
	via.chains[i] = *want.rewriting
	return via, true
}

// prepared are the sets that must stand ready before rules use them.
func (want ruleset) prepared(have held) []set {
	if !have.ours {
		return nil
	}
	return want.missing(have)
}

func commit(table string, fill func(t *transaction) error) error {
	t, err := begin(table)
	if err != nil {
		return err
	}
	if err := fill(t); err != nil {
		return err
	}
	if err := t.commit(); err != nil {
		return fmt.Errorf("write table inet %s: %w", table, explain(err))
	}
	return nil
}

// Check tells every difference between the host and rules: table, sets, chains,
// rules, their order, routes and the loopback device.
func (e *Engine) Check(ctx context.Context, r redirect.Rules) ([]redirect.Difference, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	want, err := wish(r)
	if err != nil {
		return nil, wrap("check", r.Normal().Table, err)
	}
	have, err := read(want.table)
	if err != nil {
		return nil, wrap("check", want.table, err)
	}
	d, err := compareTable(want, have)
	if err != nil {
		return nil, wrap("check", want.table, err)
	}
	d = append(d, have.routes.Plan(want.routes, have.otherVIPs).Differences...)
	up, err := route.LoopbackUp()
	if err != nil {
		return nil, wrap("check", want.table, err)
	}
	if !up {
		d.add("down", "ip link set lo up", "the loopback device")
	}
	return d, nil
}

// Remove deletes our table of that name ("" is redirect.DefaultTable) and the
// routes that no other table of ours wants. A table that is not ours is left
// alone, and where there is nothing it succeeds.
//
// Inbound connections live on. Redirected outbound ones stand still while no
// NAT is on the host, and end if they send anything meanwhile: the proxy is
// stopped after redirection is removed, not before.
func (e *Engine) Remove(ctx context.Context, table string) error {
	r := redirect.Rules{Table: table}
	if err := r.Validate(); err != nil {
		return err
	}
	table = r.Normal().Table
	for attempt := 1; ; attempt++ {
		err := remove(ctx, table)
		if errors.Is(err, redirect.ErrNotSupported) {
			return nil // where there is no nf_tables, nothing of ours is
		}
		if err == nil || !transient(err) || attempt == applyAttempts {
			return wrap("remove", table, err)
		}
	}
}

func remove(ctx context.Context, table string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	have, err := read(table)
	if err != nil {
		return err
	}
	if have.exists && have.ours {
		err := commit(table, func(t *transaction) error {
			t.deleteTable()
			return nil
		})
		if err != nil {
			return err
		}
	}
	return have.routes.Plan(nil, have.otherVIPs).DeleteStale()
}

// Describe returns what Apply would put in force in nft's language; routes are
// comments in it.
func (e *Engine) Describe(r redirect.Rules) (string, error) {
	if err := r.Validate(); err != nil {
		return "", err
	}
	want, err := wish(r)
	if err != nil {
		return "", wrap("describe", r.Normal().Table, err)
	}
	return want.String(), nil
}
