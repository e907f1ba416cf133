//go:build linux

package iptables

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/weft-mesh/weft/pkg/redirect"
)

var _ redirect.Planner = (*Engine)(nil)

// Plan tells what Apply would send now: routes, and the very input of
// iptables-restore.
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
	fl, err := h.choose(e.forced)
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
	for _, s := range h.steps(r, fl) {
		program := filepath.Base(e.tools[s.flavour].restore[s.family])
		add(program+" "+strings.Join(restoreArgs, " "), s.text)
	}
	add("rtnetlink", after...)
	return p, nil
}
