//go:build linux

package iptables

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"sync"

	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/pending"
	"github.com/weft-mesh/weft/pkg/redirect/route"
)

// ErrNotOurs: a route to a wanted range belongs to somebody else. It is left as
// it is.
var ErrNotOurs = route.ErrNotOurs

// An Engine redirects by iptables. It acts on the network namespace of the
// calling thread and may be used concurrently. All it remembers is where the
// programs are.
type Engine struct {
	forced Flavour
	dirs   []string

	find  sync.Once
	tools map[Flavour]tool
}

var (
	_ redirect.Redirector = (*Engine)(nil)
	_ redirect.Prober     = (*Engine)(nil)
	_ redirect.Leaser     = (*Engine)(nil)
)

// An Option changes an engine.
type Option func(*Engine)

// WithFlavour takes one kind of iptables wherever the host's rules are.
func WithFlavour(f Flavour) Option { return func(e *Engine) { e.forced = f } }

// WithPath looks for iptables' programs in these folders alone, not in PATH.
func WithPath(dirs ...string) Option { return func(e *Engine) { e.dirs = dirs } }

// New makes an engine. It touches nothing.
func New(opts ...Option) *Engine {
	e := new(Engine)
	for _, o := range opts {
		o(e)
	}
	if e.dirs == nil {
		e.dirs = searched()
	}
	return e
}

// applyAttempts bounds how often Apply and Remove start anew when somebody
// else writes between reading and writing.
const applyAttempts = 10

// begin makes sure of rights and programs.
func (e *Engine) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := permitted(); err != nil {
		return err
	}
	e.find.Do(func() { e.tools = find(context.WithoutCancel(ctx), e.dirs) })
	if len(e.tools) == 0 {
		return fmt.Errorf("%w: there are no iptables-save and iptables-restore in %s; install iptables, or use the nftables engine",
			redirect.ErrNotSupported, strings.Join(e.dirs, ":"))
	}
	return nil
}

// begun resolves rules on a host that has what the engine needs.
func (e *Engine) begun(ctx context.Context, r redirect.Rules) (rules, error) {
	if err := r.Validate(); err != nil {
		return rules{}, err
	}
	want, err := resolve(r)
	return want, errors.Join(err, e.begin(ctx))
}

// Apply puts rules in force: the routes first, which are harmless alone, then
// every table of both families at one moment. Established connections are not
// touched. With the same rules again it writes nothing but the time of a trial.
// Once it has written, calls that began without the rules and wait for an answer
// meet them when they ask again.
// Errors wrap redirect.ErrInvalid, ErrNotPermitted, ErrNotSupported or this
// package's ErrNotOurs.
func (e *Engine) Apply(ctx context.Context, r redirect.Rules) error {
	want, err := e.begun(ctx, r)
	if err != nil {
		return wrap("apply", r.Table, err)
	}
	defer lock(ctx)()
	rounds := 0 // the last of them finds nothing to write
	err = e.settle(ctx, want.Table, func(h host) (bool, error) {
		rounds++
		return e.apply(ctx, want, h)
	})
	if err == nil && (rounds > 1 || want.ConfirmWithin != 0) {
		err = pending.Forget(want.Rules)
	}
	return wrap("apply", r.Table, err)
}

// settle reads and lets step write until there is nothing left to write. What
// another writer does meanwhile is seen in the next round. When it comes to
// nothing, everything of ours is put back as it was at first, unless other rules
// are in force by then: what failed was to clear away.
func (e *Engine) settle(ctx context.Context, table string, step func(h host) (done bool, err error)) error {
	var (
		first *host
		last  = errors.New("somebody keeps changing the rules")
	)
	for range applyAttempts {
		h, err := e.read(ctx, table)
		if err != nil {
			last = err
			break
		}
		if first == nil {
			first = &h
		}
		done, err := step(h)
		if done {
			return err
		}
		if err != nil {
			last = err
			if !conflict(err) {
				break
			}
		}
	}
	if first == nil {
		return last
	}
	if err := e.rollBack(ctx, table, *first); err != nil {
		return errors.Join(last, fmt.Errorf("put back what was there: %w", err))
	}
	return last
}

func wrap(verb, table string, err error) error {
	if err == nil || errors.Is(err, redirect.ErrInvalid) {
		return err
	}
	table = cmp.Or(table, redirect.DefaultTable)
	return fmt.Errorf("%s redirection of table %s by iptables: %w", verb, table, err)
}

// apply is done when there was nothing to do.
func (e *Engine) apply(ctx context.Context, r rules, h host) (bool, error) {
	fl, err := h.flavour(r, e.forced)
	if err != nil {
		return false, err
	}
	up, err := route.LoopbackUp()
	if err != nil {
		return false, err
	}
	if !up {
		return false, errors.New("the loopback device is down, and redirected connections go through it: ip link set lo up")
	}
	routes, err := h.routes(r.VIPs)
	if err != nil {
		return false, err
	}
	if err := routes.Refused(); err != nil {
		return false, err
	}
	if err := routes.Mend(); err != nil {
		return false, err
	}
	wrote, err := e.put(ctx, h.steps(r, fl))
	if err != nil {
		return false, err
	}
	if wrote {
		return false, nil // look again
	}
	return true, errors.Join(send(h.arm(r)), routes.DeleteStale())
}

var restoreArgs = []string{"--noflush", "--wait=" + lockWait}

func (e *Engine) restore(ctx context.Context, s step) error {
	if s.text == "" {
		return nil
	}
	_, err := run(ctx, call{path: e.tools[s.flavour].restore[s.family], args: restoreArgs, input: s.text})
	return err
}

// rollBack makes everything of ours what it was, whatever became of ctx, unless
// other rules are in force.
func (e *Engine) rollBack(ctx context.Context, table string, was host) error {
	ctx = context.WithoutCancel(ctx)
	var errs []error
	for range applyAttempts {
		now, err := e.read(ctx, table)
		if err != nil {
			return err
		}
		if now.switches.lit() != was.switches.lit() {
			return nil
		}
		errs = nil
		for fl, both := range now.held {
			for _, f := range now.families {
				before := as(was.held[fl][f])
				if restoreText(before, held{}) != restoreText(as(both[f]), held{}) {
					errs = append(errs, e.restore(ctx, step{flavour: fl, family: f, text: restoreText(before, both[f])}))
				}
			}
		}
		if err := errors.Join(errs...); err == nil || !conflict(err) {
			return errors.Join(err, send(now.switches.stale(was.switches.names())))
		}
	}
	return errors.Join(errs...)
}

// conflicts are what iptables says when the rules changed under its hands, and
// sometimes when it lacks something. surely is said in the first case only.
var (
	surely = regexp.MustCompile("Bad rule|does a matching rule exist|Chain 'WEFT[^']*' does not exist|Couldn't load target `WEFT|" +
		"RULE_DELETE failed|CHAIN_[A-Z_]* failed|temporarily unavailable|resource busy|Too many links|Directory not empty")
	conflicts = regexp.MustCompile(surely.String() + `|No chain/target/match|No such file or directory|File exists|line \d+ failed`)
)

func conflict(err error) bool {
	f, ok := asFailure(err)
	return ok && conflicts.MatchString(f.said)
}

// routes are compared against what other tables of ours want as well.
func (h host) routes(wanted []netip.Prefix) (route.Plan, error) {
	var others []netip.Prefix
	for _, both := range h.held {
		others = append(append(others, both[ipv4].otherVIPs...), both[ipv6].otherVIPs...)
	}
	t, err := route.Iptables.Read()
	if err != nil {
		return route.Plan{}, err
	}
	return t.Plan(wanted, others), nil
}

// Check tells every difference between the host and rules: jumps, chains,
// rules, their order, sets, routes and the loopback device.
func (e *Engine) Check(ctx context.Context, r redirect.Rules) ([]redirect.Difference, error) {
	want, err := e.begun(ctx, r)
	if err != nil {
		return nil, wrap("check", r.Table, err)
	}
	d, err := e.check(ctx, want)
	return d, wrap("check", r.Table, err)
}

func (e *Engine) check(ctx context.Context, r rules) (differences, error) {
	h, err := e.read(ctx, r.Table)
	if err != nil {
		return nil, err
	}
	fl, err := h.flavour(r, e.forced)
	if err != nil {
		return nil, err
	}
	var d differences
	g := h.live()
	ours := len(h.switches.held) > 0
	for _, f := range h.families {
		lacks, left := compare(r.Table, f, build(r, f), h.held[fl][f], g)
		d = append(append(d, lacks...), left...)
		ours = ours || h.held[fl][f].ours()
		for _, other := range flavours {
			if other != fl && h.held[other][f].ours() {
				d.add(isLeftOver, applyDelete, "%s redirection of table %s in iptables-%s, while the host's rules are in iptables-%s,", f, r.Table, other, fl)
			}
		}
	}
	if ours {
		h.switches.compare(&d, r.Rules, g)
	}
	routes, err := h.routes(r.VIPs)
	if err != nil {
		return nil, err
	}
	d = append(d, routes.Differences...)
	up, err := route.LoopbackUp()
	if err != nil {
		return nil, err
	}
	if !up {
		d.add("down", "ip link set lo up", "the loopback device")
	}
	return d, nil
}

// Remove switches the rules of that table off, in both families at one moment,
// and deletes our chains, jumps and sets ("" is
// redirect.DefaultTable) in both kinds of iptables, and the routes that no other
// table of ours wants. Where there is nothing it succeeds.
//
// Inbound connections live on. Redirected outbound ones stand still while no
// NAT is on the host: the proxy is stopped after redirection is removed, not
// before.
func (e *Engine) Remove(ctx context.Context, table string) error {
	r := redirect.Rules{Table: table}
	if err := r.Validate(); err != nil {
		return err
	}
	table = r.Normal().Table
	err := e.begin(ctx)
	if errors.Is(err, redirect.ErrNotSupported) {
		// Without iptables there are no rules of ours that would name sets.
		s, err := readSwitches(table)
		return wrap("remove", table, errors.Join(err, send(s.stale(nil)), e.removeRoutes(host{})))
	}
	if err != nil {
		return wrap("remove", table, err)
	}
	defer lock(ctx)()
	return wrap("remove", table, e.settle(ctx, table, func(h host) (bool, error) {
		var steps []step
		if off := h.switches.off(); len(off) > 0 {
			steps = append(steps, step{sets: off})
		}
		for _, fl := range flavours {
			for _, f := range h.families {
				if have := h.held[fl][f]; have.ours() {
					steps = append(steps, step{flavour: fl, family: f, text: restoreText(nil, have)})
				}
			}
		}
		for _, s := range steps {
			if err := e.take(ctx, s); err != nil {
				return false, err
			}
		}
		if len(steps) > 0 {
			return false, nil
		}
		return true, errors.Join(send(h.switches.stale(nil)), e.removeRoutes(h))
	}))
}

func (e *Engine) removeRoutes(h host) error {
	routes, err := h.routes(nil)
	if err != nil {
		return err
	}
	return routes.DeleteStale()
}

// Describe returns the input that ipset, iptables-restore and ip6tables-restore
// get on a host that has nothing of ours; routes are comments above.
func (e *Engine) Describe(r redirect.Rules) (string, error) {
	want, err := resolve(r)
	if err != nil {
		return "", wrap("describe", r.Table, err)
	}
	var b strings.Builder
	for _, p := range want.VIPs {
		fmt.Fprintf(&b, "# %s\n", route.Iptables.Text("add", p))
	}
	programs := [...]string{"iptables-restore", "ip6tables-restore"}
	fresh := host{families: []family{ipv4, ipv6}, switches: switches{table: want.Table}}
	for _, s := range fresh.steps(want, NFT) {
		fmt.Fprintf(&b, "# %s\n%s", s.by(programs[s.family]), s.input())
	}
	return b.String(), nil
}
