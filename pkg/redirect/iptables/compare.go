//go:build linux

package iptables

import (
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// Remedies.
const (
	applyAgain  = "apply the rules again"
	applyDelete = "apply the rules again, which deletes it"
)

// What Difference.Is says.
const (
	isMissing    = "missing"
	isChanged    = "changed"
	isNotOurs    = "not ours"
	isLeftOver   = "left over"
	isWrongPlace = "in the wrong place"
)

type differences []redirect.Difference

func (d *differences) add(is, remedy, what string, args ...any) {
	*d = append(*d, redirect.Difference{What: fmt.Sprintf(what, args...), Is: is, Remedy: remedy})
}

// compare tells how our part of one family differs from the wish.
func compare(table string, f family, want []section, have held) differences {
	var d differences
	if len(want) > 0 && !have.ours() {
		d.add(isMissing, applyAgain, "%s redirection of table %s", f, table)
		return d
	}
	for _, name := range tables {
		i := slices.IndexFunc(want, func(s section) bool { return s.table == name })
		if i < 0 {
			d.leftOver(table, f, have.table(name), nil, false)
			continue
		}
		d.section(table, f, want[i], have.table(name))
	}
	return d
}

func (d *differences) section(table string, f family, want section, have *heldTable) {
	g := have.live(table)
	d.jumps(table, f, want, have, g)
	var known []string
	for _, c := range want.chains {
		name := chainName(table, g, c.role)
		known = append(known, name)
		held, ok := have.chain(name)
		if !ok {
			d.add(isMissing, applyAgain, "%s chain %s", f, c.role)
			continue
		}
		d.rules(table, f, g, c, held)
	}
	d.leftOver(table, f, have, known, true)
}

// jumps compares how packets get to our chains.
func (d *differences) jumps(table string, f family, want section, have *heldTable, g generation) {
	used := make([]bool, len(have.jumps))
	for _, j := range want.jumps {
		wanted, ok := readJump(j.spec(table, g))
		if !ok {
			continue
		}
		what := fmt.Sprintf("the jump from %s %s to %s chain %s", want.table, j.hook, f, j.role)
		at := slices.IndexFunc(have.jumps, func(h heldJump) bool { return h.chain == j.hook && h.to == wanted.to })
		switch {
		case at < 0:
			d.add(isMissing, applyAgain, "%s", what)
			continue
		case spelling(have.jumps[at].words) != spelling(wanted.words):
			d.add(isChanged, applyAgain, "%s", what)
		case have.jumps[at].behind != "":
			d.add(isWrongPlace, applyAgain, "%s, behind %q,", what, have.jumps[at].behind)
		}
		used[at] = true
	}
	for i, j := range have.jumps {
		if !used[i] {
			d.add(isLeftOver, applyDelete, "another jump from %s %s to %s chain %s", want.table, j.chain, f, j.to)
		}
	}
}

func readJump(text string) (heldJump, bool) {
	l, ok := readLine("-A " + text)
	return heldJump{line: l, to: l.target()}, ok
}

// leftOver tells of chains that nothing wants.
func (d *differences) leftOver(table string, f family, have *heldTable, known []string, compared bool) {
	for _, c := range have.chains {
		if slices.Contains(known, c.name) {
			continue
		}
		is := isLeftOver
		if g, _, _ := split(table, c.name); g == "" {
			is = isNotOurs
		}
		d.add(is, applyDelete, "%s chain %s", f, c.name)
	}
	if compared {
		return // jumps, too
	}
	for _, j := range have.jumps {
		d.add(isLeftOver, applyDelete, "the jump from %s to %s chain %s", j.chain, f, j.to)
	}
}

// rules compares by name first, so that one missing rule is told as one.
func (d *differences) rules(table string, f family, g generation, want chain, have heldChain) {
	byName := make(map[string]int, len(have.rules))
	for i, h := range slices.Backward(have.rules) {
		byName[h.comment()] = i // the first of that name
	}
	used := make([]bool, len(have.rules))
	wanted := make(map[string]bool, len(want.rules))
	for _, r := range want.rules {
		i, ok := byName[r.name]
		if !ok {
			d.add(isMissing, applyAgain, "rule %q in %s chain %s", r.name, f, want.role)
			continue
		}
		words, _ := tokens(r.spec(table, g))
		if spelling(words) != spelling(have.rules[i].words) {
			d.add(isChanged, applyAgain, "rule %q in %s chain %s", r.name, f, want.role)
		}
		used[i], wanted[r.name] = true, true
	}
	var order []string // the names that are there and wanted, as they stand
	for i, h := range have.rules {
		if !used[i] {
			d.add(isNotOurs, applyDelete, "rule %d (%q) in %s chain %s", i+1, h.comment(), f, want.role)
			continue
		}
		order = append(order, h.comment())
	}
	at := 0
	for _, r := range want.rules {
		if !wanted[r.name] {
			continue
		}
		if order[at] != r.name {
			d.add(isWrongPlace, applyAgain, "rule %q in %s chain %s", order[at], f, want.role)
			return
		}
		at++
	}
}
