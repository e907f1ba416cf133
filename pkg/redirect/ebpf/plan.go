//go:build linux

package ebpf

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/redirect"
)

var (
	_ redirect.Planner = (*Engine)(nil)
	_ redirect.Prober  = (*Engine)(nil)
)

// Probe runs the self-test, unless it has passed in this process, by which the
// kernel says what it lacks.
func (e *Engine) Probe(ctx context.Context, r redirect.Rules) error {
	if err := r.Validate(); err != nil {
		return err
	}
	r = r.Normal()
	err := errors.Join(ctx.Err(), expressible(r), permitted(netAdmin, sysAdmin))
	if err == nil {
		err = place{bpffs: e.pins}.writable()
	}
	if err == nil && !proven.Load() {
		err = e.SelfTest(ctx)
	}
	return wrap("probe", r.Table, err)
}

// Plan tells what Apply would do now: a line for each call of bpf(2) that
// changes something.
func (e *Engine) Plan(ctx context.Context, r redirect.Rules) (p redirect.Plan, err error) {
	if p.Differences, err = e.Check(ctx, r); err != nil {
		return p, err
	}
	r = r.Normal()
	s, err := e.scene(r)
	if err != nil {
		return p, wrap("plan", r.Table, err)
	}
	defer s.close()
	have, err := read(s.place)
	if err != nil {
		return p, wrap("plan", r.Table, err)
	}
	defer have.close()
	text, err := s.text(have)
	if err != nil {
		return p, wrap("plan", r.Table, err)
	}
	mend, stale := have.plan(s.wish).Texts()
	step := func(by, text string) {
		if text != "" {
			p.Steps = append(p.Steps, redirect.Step{By: by, Text: text})
		}
	}
	for _, t := range mend {
		step("rtnetlink", t)
	}
	step("bpf", text)
	for _, t := range stale {
		step("rtnetlink", t)
	}
	return p, nil
}

// text is what put would do, beside routes.
func (s *scene) text(have held) (string, error) {
	links, err := s.links(have)
	if err != nil {
		return "", err
	}
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	there := make(map[string]hanging)
	for _, l := range have.links {
		there[l.name] = l
	}
	if !have.usable {
		there = nil
		add("make maps in %s", mapsIn(s.place.dir()))
	} else if !have.current {
		add("exchange the programs of another version")
	}
	for _, l := range links {
		if h, ok := there[l.name]; !ok || h.target != l.target || h.broken != "" {
			add("attach %s to %s", l.name, map[spot]string{onTree: s.tree.attach, onProxy: l.cgroup, onNetns: "the network namespace"}[l.hook.on])
		}
		delete(there, l.name)
	}
	for _, name := range slices.Sorted(keys(there)) {
		add("detach %s", name)
	}
	lines = append(lines, s.mapTexts(have)...)
	if len(lines) == 0 {
		return "", nil
	}
	return strings.Join(lines, "\n") + "\n", nil
}

// mapTexts are what write would do.
func (s *scene) mapTexts(have held) (lines []string) {
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, k := range slices.SortedFunc(keys(s.listeners), func(a, b slot) int { return int(a.Port) - int(b.Port) }) {
		if l := s.listeners[k]; have.adopted[k] != l.Cookie {
			add("take over the proxy's listener %s", l.Local)
		}
	}
	same := have.inForce && s.same(have)
	generation := have.config.Generation
	if !same {
		generation = have.next()
	}
	want := s.wish.entries(generation)
	var entries []string
	for k := range want.networks {
		if !have.entries.networks[k] {
			entries = append(entries, "add "+networkOf(k).String())
		}
	}
	for k, roles := range want.owners {
		if have.entries.owners[k] != roles {
			entries = append(entries, "add "+owner{k.By, k.Id}.String()+" as "+roleText(roles))
		}
	}
	for k := range have.entries.networks {
		if k.Generation == 0 && !want.networks[k] {
			entries = append(entries, "delete "+networkOf(k).String())
		}
	}
	slices.Sort(entries)
	lines = append(lines, entries...)
	if s.wish.rules.ConfirmWithin != 0 {
		add("begin a trial of %s", s.wish.rules.ConfirmWithin)
	}
	if !same {
		if s.wish.rules.FailOpen != 0 {
			add("begin a lease of %s", s.wish.rules.FailOpen)
		}
		c := s.wish.config
		add("put generation %d in force: inbound to %d from ports %s; outbound to %d but ports %s; DNS to %d; flags %#x",
			generation, c.InboundTo, portText(portsOf(&c.InboundPorts)), c.OutboundTo, portText(portsOf(&c.ExcludedPorts)), c.DnsTo, c.Flags)
	}
	return lines
}
