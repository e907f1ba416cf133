//go:build linux

package iptables

import (
	"context"
	"strings"
)

// put takes steps until one fails.
func (e *Engine) put(ctx context.Context, steps []step) (wrote bool, err error) {
	for _, s := range steps {
		if err := e.take(ctx, s); err != nil {
			return true, e.diagnose(ctx, s, err)
		}
	}
	return len(steps) > 0, nil
}

// steps lead from what is held to the rules in the chosen flavour. Where they
// are not there yet they come into being beside what is in force, take over at
// one moment, and then what was there goes.
func (h host) steps(r rules, fl Flavour) (steps []step) {
	sets := func(changes ...setChange) {
		if len(changes) > 0 {
			steps = append(steps, step{sets: changes})
		}
	}
	restore := func(fl Flavour, f family, want []wish, have held) {
		if text := restoreText(want, have); text != "" {
			steps = append(steps, step{flavour: fl, family: f, text: text})
		}
	}
	g := h.live()
	lacking := h.switches.lacking(r.Rules)
	if h.has(r, fl, g) {
		sets(append(lacking, h.switches.timing(g, r.Rules)...)...)
		for _, f := range h.families {
			if _, left := compare(r.Table, f, build(r, f), h.held[fl][f], g); len(left) > 0 {
				restore(fl, f, settled(r.Table, build(r, f), g), h.held[fl][f])
			}
		}
	} else {
		g = g.next()
		sets(lacking...)
		after := make(map[family]held)
		for _, f := range h.families {
			want := prepared(r.Table, build(r, f), g, h.held[fl][f])
			restore(fl, f, want, h.held[fl][f])
			after[f] = wished(want, h.held[fl][f])
		}
		if leased(r.Rules) {
			sets(append([]setChange{h.switches.turnOn(setLease, r.FailOpen)}, h.switches.turn(g, r.ConfirmWithin)...)...)
		} else {
			sets(h.switches.turn(g, r.ConfirmWithin)...)
		}
		for _, f := range h.families {
			restore(fl, f, settled(r.Table, build(r, f), g), after[f])
		}
	}
	for _, other := range flavours {
		for _, f := range h.families {
			if have := h.held[other][f]; other != fl && have.ours() {
				restore(other, f, nil, have)
			}
		}
	}
	sets(h.switches.stale(wantedSets(r.Rules))...)
	return steps
}

// has tells whether a generation has the rules, in every family.
func (h host) has(r rules, fl Flavour, g generation) bool {
	for _, f := range h.families {
		if lacks, _ := compare(r.Table, f, build(r, f), h.held[fl][f], g); len(lacks) > 0 {
			return false
		}
	}
	return true
}

// arm begins a trial, which every Apply does anew.
func (h host) arm(r rules) []setChange {
	if r.ConfirmWithin == 0 {
		return nil
	}
	return []setChange{h.switches.turnOn(string(h.live()), r.ConfirmWithin)}
}

// live is the generation that packets follow, or, where none is switched on, that
// which they would: its chains are there. Versions without gates have jumps to
// its chains.
func (h host) live() generation {
	if g := h.switches.lit(); g != "" {
		return g
	}
	for _, of := range []func(t *heldTable) []string{(*heldTable).goals, (*heldTable).names} {
		for _, fl := range flavours {
			for _, f := range h.families {
				for _, name := range tables {
					for _, chain := range of(h.held[fl][f].table(name)) {
						if g, _, _ := split(h.switches.table, chain); g != "" {
							return g
						}
					}
				}
			}
		}
	}
	return genB // so that the first is a
}

// A step is one run of iptables-restore, or messages to ip_set.
type step struct {
	flavour Flavour
	family  family
	text    string
	sets    []setChange
}

func (e *Engine) take(ctx context.Context, s step) error {
	if s.sets != nil {
		return send(s.sets)
	}
	return e.restore(ctx, s)
}

// by is the program that a step is input for.
func (s step) by(restore string) string {
	if s.sets != nil {
		return "ipset -exist restore"
	}
	return restore + " " + strings.Join(restoreArgs, " ")
}

func (s step) input() string {
	text := s.text
	for _, c := range s.sets {
		text += c.String() + "\n"
	}
	return text
}
