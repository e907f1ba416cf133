//go:build linux

package iptables

import (
	"context"
	"path/filepath"

	"github.com/weft-mesh/weft/pkg/redirect"
)

var _ redirect.Planner = (*Engine)(nil)

// Plan tells what Apply would send now: routes, the very input of
// iptables-restore, and messages to ip_set as ipset reads them.
func (e *Engine) Plan(ctx context.Context, r redirect.Rules) (redirect.Plan, error) {
	want, err := e.begun(ctx, r)
	if err != nil {
		return redirect.Plan{}, wrap("plan", r.Table, err)
	}
	p, err := e.plan(ctx, want)
	return p, wrap("plan", r.Table, err)
}

func (e *Engine) plan(ctx context.Context, r rules) (p redirect.Plan, err error) {
	if p.Differences, err = e.check(ctx, r); err != nil {
		return p, err
	}
	h, err := e.read(ctx, r.Table)
	if err != nil {
		return p, err
	}
	fl, err := h.flavour(r, e.forced)
	if err != nil {
		return p, err
	}
	routes, err := h.routes(r.VIPs)
	if err != nil {
		return p, err
	}
	before, after := routes.Texts()
	add := func(by string, texts ...string) {
		for _, text := range texts {
			p.Steps = append(p.Steps, redirect.Step{By: by, Text: text})
		}
	}
	add("rtnetlink", before...)
	steps := h.steps(r, fl)
	if arm := h.arm(r); arm != nil && len(steps) == 0 {
		steps = append(steps, step{sets: arm})
	}
	for _, s := range steps {
		add(s.by(filepath.Base(e.tools[s.flavour].restore[s.family])), s.input())
	}
	add("rtnetlink", after...)
	return p, nil
}
