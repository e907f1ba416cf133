//go:build linux

package nftables

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// Remedies.
const (
	applyAgain  = "apply the rules again"
	applyDelete = "apply the rules again, which deletes it"
)

// What Difference.Is says.
const (
	isMissing = "missing"
	isChanged = "changed"
	isNotOurs = "not ours"
)

type differences []redirect.Difference

func (d *differences) add(is, remedy, what string, args ...any) {
	*d = append(*d, redirect.Difference{What: fmt.Sprintf(what, args...), Is: is, Remedy: remedy})
}

// compareTable tells how our table differs from the wish.
func compareTable(want ruleset, have held) (differences, error) {
	var d differences
	switch {
	case !have.exists:
		d.add(isMissing, applyAgain, "table inet %s", want.table)
		return d, nil
	case have.foreign():
		d.add(isNotOurs, notOursRemedy(want.table), "table inet %s", want.table)
		return d, nil
	case have.flags&unix.NFT_TABLE_F_DORMANT != 0:
		d.add("switched off", applyAgain, "table inet %s", want.table)
	}
	for _, s := range want.sets {
		i := slices.IndexFunc(have.sets, func(h heldSet) bool { return h.name == s.name })
		switch {
		case i < 0:
			d.add(isMissing, applyAgain, "set %s", s.name)
		case !sameSet(s, have.sets[i]):
			d.add(isChanged, applyAgain, "set %s", s.name)
		}
	}
	for _, h := range have.sets {
		if !slices.ContainsFunc(want.sets, func(s set) bool { return s.name == h.name }) {
			d.add(isNotOurs, applyDelete, "set %s", h.name)
		}
	}
	for _, c := range want.chains {
		i := slices.IndexFunc(have.chains, func(h heldChain) bool { return h.name == c.name })
		if i < 0 {
			d.add(isMissing, applyAgain, "chain %s", c.name)
			continue
		}
		if !sameHook(c, have.chains[i]) {
			d.add(isChanged, applyAgain, "the hook, priority or policy of chain %s", c.name)
		}
		if err := d.rules(c, have.chains[i]); err != nil {
			return nil, err
		}
	}
	for _, h := range have.chains {
		if !slices.ContainsFunc(want.chains, func(c chain) bool { return c.name == h.name }) {
			d.add(isNotOurs, applyDelete, "chain %s", h.name)
		}
	}
	return d, nil
}

func notOursRemedy(table string) string {
	return fmt.Sprintf("choose another name for the rules' table, or delete that one: nft delete table inet %s", table)
}

// rules compares by name first, so that one missing rule is told as one.
func (d *differences) rules(want chain, have heldChain) error {
	seen := make([]string, 0, len(have.rules)) // names of what is as it should be, in order
	used := make([]bool, len(have.rules))
	for _, r := range want.rules {
		spelling, err := r.spelling()
		if err != nil {
			return err
		}
		i := slices.IndexFunc(have.rules, func(h heldRule) bool { return h.comment == r.name })
		switch {
		case i < 0:
			d.add(isMissing, applyAgain, "rule %q in chain %s", r.name, want.name)
			continue
		case have.rules[i].spelling != spelling:
			d.add(isChanged, applyAgain, "rule %q in chain %s", r.name, want.name)
		}
		used[i] = true
	}
	for i, h := range have.rules {
		if !used[i] {
			d.add(isNotOurs, applyDelete, "rule %d (%q) in chain %s", i+1, h.comment, want.name)
			continue
		}
		seen = append(seen, h.comment)
	}
	at := 0
	for _, r := range want.rules {
		if !slices.Contains(seen, r.name) {
			continue
		}
		if seen[at] != r.name {
			d.add("in the wrong place", applyAgain, "rule %q in chain %s", seen[at], want.name)
			break
		}
		at++
	}
	return nil
}

func sameHook(want chain, have heldChain) bool {
	if !want.hooked() || !have.base {
		return want.hooked() == have.base
	}
	return have.kind == want.kind && have.hook == want.hook.num &&
		have.priority == want.priority && have.policy == uint32(nftables.ChainPolicyAccept)
}

// sameSet takes a set whose elements are its own for the same with any.
func sameSet(want set, have heldSet) bool {
	w := want.asHeld()
	return have.flags == w.flags && have.keyType == w.keyType && have.keyLen == w.keyLen &&
		(want.kind.own() || slices.EqualFunc(w.elements, have.elements, func(a, b nftables.SetElement) bool {
			return bytes.Equal(a.Key, b.Key) && a.IntervalEnd == b.IntervalEnd
		}))
}

// asHeld is the set as the kernel will tell of it.
func (s set) asHeld() heldSet {
	s.elements = slices.Clone(s.elements)
	sortElements(s.elements)
	h := heldSet{set: s, keyType: s.kind.key.GetNFTMagic(), keyLen: s.kind.key.Bytes}
	if s.kind.interval {
		h.flags = unix.NFT_SET_INTERVAL
	}
	if s.kind.timed {
		h.flags = unix.NFT_SET_TIMEOUT
	}
	if s.kind.learns {
		h.flags = unix.NFT_SET_EVAL
	}
	return h
}

// held is a table of ours as the kernel will tell of it, but for its rules.
func (rs ruleset) held() held {
	h := held{exists: true, ours: true}
	for _, s := range rs.sets {
		h.sets = append(h.sets, s.asHeld())
	}
	for _, c := range rs.chains {
		h.chains = append(h.chains, heldChain{name: c.name, base: c.hooked(), kind: c.kind, hook: c.hook.num, priority: c.priority,
			policy: uint32(nftables.ChainPolicyAccept)})
	}
	return h
}
