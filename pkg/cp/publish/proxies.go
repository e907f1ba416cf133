package publish

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/xds"
	"github.com/weft-mesh/weft/pkg/envoy/render"
	"github.com/weft-mesh/weft/pkg/failpoint"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// pushing brings every new state to the proxies. States that come while it is
// at work are taken together.
func (p *Publisher) pushing(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case since := <-p.dirty:
			p.round(ctx)
			p.metrics.seconds.Observe(time.Since(since).Seconds())
		}
	}
}

// round sees to the connected proxies whom something concerns that is different
// since the round before.
func (p *Publisher) round(ctx context.Context) {
	state := p.State()
	var g errgroup.Group
	g.SetLimit(cap(p.planning))
	for _, id := range p.records.stale(p.stream, state) {
		g.Go(func() error {
			if ctx.Err() == nil {
				p.push(id)
			}
			return nil
		})
	}
	_ = g.Wait() // push reports by itself
	p.publishNames(state)
	p.tell(state.Version())
}

// push gives a connected proxy what it lacks, and ends its streams where its
// dataplane is gone.
func (p *Publisher) push(id proxy.ID) {
	r := p.records.of(id)
	r.mu.Lock()
	defer r.mu.Unlock()
	before, planned := r.bundle, r.planned
	switch err := p.replan(r); {
	case errors.Is(err, xds.ErrUnknown) && !planned:
		// Its stream has just been opened, of a dataplane that this state does not
		// have yet. Connect waits for one that does, or ends the stream.
	case errors.Is(err, xds.ErrUnknown):
		p.log.Info("proxy lost its dataplane", "proxy", id)
		p.records.drop(id)
		p.stream.Drop(id, err)
	case err == nil && (before == nil || before.Version != r.bundle.Version):
		p.stream.Publish(id, r.bundle)
	}
}

// Connect is called by the stream for every proxy that arrives, and returns
// when its plan is published. A dataplane that was stored a moment ago is
// waited for. Errors wrap xds.ErrUnknown and xds.ErrBroken.
func (p *Publisher) Connect(ctx context.Context, id proxy.ID) error {
	if _, err := p.find(ctx, id); err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("%w; put it, or register its host again", err)
		}
		return err
	}
	select {
	case p.planning <- struct{}{}:
		defer func() { <-p.planning }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	r := p.records.of(id)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := p.replan(r); errors.Is(err, xds.ErrUnknown) || err != nil && r.bundle == nil {
		return err
	}
	p.stream.Publish(id, r.bundle)
	return nil
}

// replan makes the plan of a proxy anew. Where that fails the record keeps its
// last good bundle, and the failure is logged the first time.
func (p *Publisher) replan(r *record) error {
	p.records.begin(r) // before the state is read: no round may pass between
	m := p.State().Mesh(r.id.Mesh)
	if m == nil || m.Dataplane(r.id.Name) == nil {
		return unknown(r.id)
	}
	_ = failpoint.At(failpoint.PublishBuild)
	p.metrics.replans.Inc()
	view := snapshot.NewView(m)
	b, warnings, err := p.bundle(m, view, r.id)
	p.records.read(r, view)
	r.planned, r.warnings = true, warnings
	if err != nil {
		p.failed(r, err)
		return fmt.Errorf("proxy %s %w: %w", r.id, xds.ErrBroken, err)
	}
	r.bundle, r.failed = b, ""
	return nil
}

// bundle plans, renders and encodes. What it warns of it tells in any case. A
// panic is a fault of this one proxy's plan.
func (p *Publisher) bundle(m *snapshot.Mesh, view *snapshot.View, id proxy.ID) (b *xds.Bundle, warnings []proxy.Warning, err error) {
	defer p.survive(id, &err)
	o, err := p.make(m, view, id)
	if err != nil {
		return nil, o.warnings, err
	}
	if b, err = p.stream.Encode(p.render(o.config), o.secrets); err != nil {
		return nil, o.warnings, err
	}
	return b, slices.Concat(o.warnings, b.Warnings), nil
}

// An outcome is a plan with all that it needs to be rendered.
type outcome struct {
	config   *proxy.Config // nil: there was no plan
	secrets  []render.Resource
	warnings []proxy.Warning
}

// make plans, and adds what plans only name.
func (p *Publisher) make(m *snapshot.Mesh, view *snapshot.View, id proxy.ID) (o outcome, err error) {
	c, planned := p.plan(view, id.Name)
	if c == nil {
		return o, unknown(id)
	}
	secrets, missing := p.vault.open(m, c)
	return outcome{c, secrets, slices.Concat(planned, missing)}, nil
}

// rendered is make, and the rendering of the whole plan at once, for people.
// Where rendering fails the outcome has the plan.
func (p *Publisher) rendered(m *snapshot.Mesh, id proxy.ID) (o outcome, b *render.Bundle, err error) {
	defer p.survive(id, &err)
	if o, err = p.make(m, snapshot.NewView(m), id); err != nil {
		return o, nil, err
	}
	if b, err = render.Resources(o.config); err != nil {
		return o, nil, err
	}
	o.warnings = append(o.warnings, b.Warnings...)
	b.AddSecrets(o.secrets)
	return o, b, nil
}

// survive makes an error of a panic.
func (p *Publisher) survive(id proxy.ID, err *error) {
	if r := recover(); r != nil {
		p.log.Error("plan panicked", "proxy", id, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		*err = fmt.Errorf("panic: %v", r)
	}
}

func (p *Publisher) failed(r *record, err error) {
	if r.failed != err.Error() {
		p.log.Error("proxy was not brought up to date and keeps what it has", "proxy", r.id, "error", err)
		p.metrics.failures.Inc()
	}
	r.failed = err.Error()
}

// find returns the mesh of a dataplane that is there. It waits for the state
// to hold what the store holds already.
func (p *Publisher) find(ctx context.Context, id proxy.ID) (*snapshot.Mesh, error) {
	s, err := p.await(ctx, 0)
	if err != nil {
		return nil, fmt.Errorf("wait for the store to be read: %w", err)
	}
	if m := s.Mesh(id.Mesh); m != nil && m.Dataplane(id.Name) != nil {
		return m, nil
	}
	stored, err := p.store.Get(ctx, mesh.Key{Kind: mesh.DataplaneKind.Name, Mesh: id.Mesh, Name: id.Name})
	if errors.Is(err, store.ErrNotFound) {
		return nil, unknown(id)
	}
	if err != nil {
		return nil, fmt.Errorf("look for dataplane %s: %w", id, err)
	}
	if s, err = p.await(ctx, stored.Meta.Version); err != nil {
		return nil, fmt.Errorf("wait for dataplane %s: %w", id, err)
	}
	if m := s.Mesh(id.Mesh); m != nil && m.Dataplane(id.Name) != nil {
		return m, nil
	}
	return nil, unknown(id)
}

// unknown wraps what streams and what REST look for.
func unknown(id proxy.ID) error {
	return fmt.Errorf("Dataplane %q in mesh %q: %w", id.Name, id.Mesh, errors.Join(store.ErrNotFound, xds.ErrUnknown)) //nolint:staticcheck // a kind's name
}
