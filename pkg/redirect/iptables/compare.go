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

// compare tells how our part of one family differs from the wish, as
// generation g has it.
func compare(table string, f family, want []section, have held, g generation) (d differences, left differences) {
	if len(want) > 0 && !have.ours() {
		d.add(isMissing, applyAgain, "%s redirection of table %s", f, table)
		return d, nil
	}
	for _, name := range tables {
		s := section{table: name}
		if i := slices.IndexFunc(want, func(s section) bool { return s.table == name }); i >= 0 {
			s = want[i]
		}
		t := have.table(name)
		known := d.section(table, f, s, t, g)
		left.leftOver(table, f, s, t, known)
	}
	return d, left
}

// section tells what is not as it is wanted, and returns the chains that are
// known.
func (d *differences) section(table string, f family, want section, have *heldTable, g generation) (known []string) {
	d.jumps(table, f, want, have)
	for _, j := range want.jumps {
		name := gateName(table, j.role)
		known = append(known, name)
		held, ok := have.chain(name)
		leads := slices.IndexFunc(held.rules, func(l line) bool {
			words, _ := tokens(gateRule(table, j.role, g))
			return spelling(l.words) == spelling(words)
		})
		switch {
		case !ok:
			d.add(isMissing, applyAgain, "%s chain %s", f, name)
		case leads < 0:
			d.add(isMissing, applyAgain, "the way from %s chain %s to generation %s", f, name, g)
		}
	}
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
	return known
}

// jumps compares how packets get to our chains.
func (d *differences) jumps(table string, f family, want section, have *heldTable) {
	for _, j := range want.jumps {
		wanted, ok := readJump(j.spec(table))
		if !ok {
			continue
		}
		what := fmt.Sprintf("the jump from %s %s to %s chain %s", want.table, j.hook, f, j.role)
		at := have.jump(j.hook, wanted.to)
		switch {
		case at < 0:
			d.add(isMissing, applyAgain, "%s", what)
		case spelling(have.jumps[at].words) != spelling(wanted.words):
			d.add(isChanged, applyAgain, "%s", what)
		case have.jumps[at].behind != "":
			d.add(isWrongPlace, applyAgain, "%s, behind %q,", what, have.jumps[at].behind)
		}
	}
}

// jump is the first from one chain to another, or -1.
func (t *heldTable) jump(from, to string) int {
	return slices.IndexFunc(t.jumps, func(h heldJump) bool { return h.chain == from && h.to == to })
}

func readJump(text string) (heldJump, bool) {
	l, ok := readLine("-A " + text)
	return heldJump{line: l, to: l.target()}, ok
}

// leftOver tells of chains, jumps and ways through gates that nothing wants.
func (d *differences) leftOver(table string, f family, want section, have *heldTable, known []string) {
	for _, c := range have.chains {
		if slices.Contains(known, c.name) {
			if g, role, _ := split(table, c.name); g == "" && len(c.rules) > 1 {
				d.add(isLeftOver, applyDelete, "another way through %s chain %s", f, gateName(table, role))
			}
			continue
		}
		is := isLeftOver
		if g, role, _ := split(table, c.name); g == "" && !slices.Contains(entries, role) {
			is = isNotOurs
		}
		d.add(is, applyDelete, "%s chain %s", f, c.name)
	}
	for i, j := range have.jumps {
		wanted := slices.ContainsFunc(want.jumps, func(w jump) bool { return have.jump(w.hook, gateName(table, w.role)) == i })
		if !wanted {
			d.add(isLeftOver, applyDelete, "a jump from %s %s to %s chain %s", want.table, j.chain, f, j.to)
		}
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
