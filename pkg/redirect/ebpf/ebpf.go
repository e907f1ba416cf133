//go:build linux

package ebpf

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/pending"
	"github.com/weft-mesh/weft/pkg/redirect/route"
)

// ErrNotOurs: a route to a wanted range belongs to somebody else. It is left as
// it is.
var ErrNotOurs = route.ErrNotOurs

// An Engine redirects by eBPF. It acts on the network namespace of the calling
// thread, keeps no state and may be used concurrently.
type Engine struct {
	cgroup string // folder of the cgroup tree; "" is its root
	pins   string // where the bpf file system is
}

var (
	_ redirect.Redirector = (*Engine)(nil)
	_ redirect.Recaller   = (*Engine)(nil)
)

// An Option changes an engine.
type Option func(*Engine)

// WithCgroup hangs the programs on a folder of the cgroup v2 tree, such as
// "system.slice", instead of its root. They see only the processes in it; the
// proxy must be one of them.
func WithCgroup(folder string) Option { return func(e *Engine) { e.cgroup = folder } }

// WithPins takes another place than /sys/fs/bpf for the bpf file system. An
// engine finds only what was pinned at the same place.
func WithPins(at string) Option { return func(e *Engine) { e.pins = filepath.Clean(at) } }

// New makes an engine. It touches nothing.
func New(opts ...Option) *Engine {
	e := &Engine{pins: defaultPins}
	for _, o := range opts {
		o(e)
	}
	return e
}

func wrap(verb, table string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s redirection of table %s by eBPF: %w", verb, table, err)
}

// Apply puts rules in force: the routes first, which are harmless alone, then
// programs that do nothing yet, then the rules, by one write that every program
// sees at once. Where nothing of ours is in force, the programs prove themselves
// on this kernel first, once in a process, in a network namespace that nobody
// else has. Established
// connections are not touched, and calls to services that began without the rules
// are ended, as no rule reaches them any more. With the same rules again it writes nothing, but
// for the time of a trial, which begins anew. Errors wrap redirect.ErrInvalid,
// ErrNotPermitted, ErrNotSupported or this package's ErrNotOurs.
func (e *Engine) Apply(ctx context.Context, r redirect.Rules) error {
	if err := r.Validate(); err != nil {
		return err
	}
	r = r.Normal()
	return wrap("apply", r.Table, e.apply(ctx, r))
}

func (e *Engine) apply(ctx context.Context, r redirect.Rules) error {
	if err := errors.Join(ctx.Err(), expressible(r), permitted(netAdmin, sysAdmin)); err != nil {
		return err
	}
	up, err := route.LoopbackUp()
	if err != nil {
		return err
	}
	if !up {
		return errors.New("the loopback device is down, and redirected connections go through it: ip link set lo up")
	}
	s, err := e.scene(r)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.place.writable(); err != nil {
		return err
	}
	if err := e.ready(ctx, &s); err != nil {
		return err
	}
	unlock, err := s.place.lock(ctx, true)
	if err != nil {
		return err
	}
	defer s.place.leave(unlock)
	for attempt := 1; ; attempt++ {
		err := s.put()
		if err == nil {
			return pending.Abort(r)
		}
		if !errors.Is(err, fs.ErrNotExist) || attempt == applyAttempts {
			return err
		}
	}
}

// applyAttempts bounds how often Apply starts anew when somebody takes away what
// it has just found or made.
const applyAttempts = 10

// Recall ends calls to services that began unredirected, as nobody else will.
func (e *Engine) Recall(ctx context.Context, r redirect.Rules) error {
	if err := errors.Join(ctx.Err(), r.Validate()); err != nil {
		return err
	}
	return wrap("recall", r.Table, pending.Abort(r))
}

// ready refuses before anything is touched what would fail later: somebody
// else's routes, and programs that do not work here.
func (e *Engine) ready(ctx context.Context, s *scene) error {
	have, err := read(s.place)
	if err != nil {
		return err
	}
	defer have.close()
	if err := have.plan(s.wish).Refused(); err != nil {
		return err
	}
	if have.current || proven.Load() {
		return nil
	}
	return e.SelfTest(ctx)
}

func (h *held) plan(w wish) route.Plan { return h.routes.Plan(w.rules.VIPs, h.otherVIP) }

// Remove takes back what Apply did: at once for all programs, then link by link
// and map by map, whatever version pinned them, and the routes that no other
// table of ours wants. Where there is nothing it succeeds. Connections that are
// open live on.
func (e *Engine) Remove(ctx context.Context, table string) error {
	r := redirect.Rules{Table: table}
	if err := r.Validate(); err != nil {
		return err
	}
	table = cmp.Or(table, redirect.DefaultTable)
	return wrap("remove", table, e.remove(ctx, table))
}

func (e *Engine) remove(ctx context.Context, table string) error {
	if err := errors.Join(ctx.Err(), permitted(netAdmin)); err != nil {
		return err
	}
	netns, _, err := namespace()
	if err != nil {
		return err
	}
	p := place{bpffs: e.pins, table: table, netns: netns}
	if _, err := os.Stat(p.root()); !errors.Is(err, os.ErrNotExist) {
		if err := permitted(sysAdmin); err != nil {
			return err
		}
	}
	unlock, err := p.lock(ctx, false)
	if err != nil {
		return err
	}
	defer p.leave(unlock)
	if err := errors.Join(remove(p.dir()), remove(p.dir()+before), remove(p.dir()+aside)); err != nil {
		return err
	}
	if err := p.sweep(); err != nil {
		return err
	}
	kept, err := otherVIPs(p)
	if err != nil {
		return err
	}
	routes, err := route.EBPF.Read()
	if err != nil {
		return err
	}
	return routes.Plan(nil, kept).DeleteStale()
}
