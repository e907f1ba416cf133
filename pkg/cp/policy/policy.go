// Package policy chooses which policies apply to what, and tells why.
//
// What a policy says of whom it is for is its selectors: one list (Selectors),
// or two for connections (Ends). What it is chosen for is a Target: tags. How
// well it fits is the Rank of its best selector that matches: more tags fit
// better, and of as many tags those with more exact values. On a tie the policy
// that was created later comes first, then the one whose name sorts first.
// Every choice is a Match, which names the policy that it comes from: the
// origin of all that is read out of it. Some kinds of policy want the one that
// fits best (Winner), some want all (Matches); the confs of several never merge.
//
// A kind is a small file here that says which of its lists count for what.
package policy

import (
	"cmp"
	"slices"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// Selectors returns those selectors of a policy by which it is chosen.
type Selectors func(mesh.Spec) []mesh.Selector

// A Match is a policy that applies, and where in it that is written.
type Match struct {
	Policy *mesh.Resource
	// Source is the selector of a connection's source that fits best, of those
	// that fit alike the first. Of kinds with one list it is empty.
	Source mesh.Selector
	// Selector is that of the target: of a connection the destination's.
	Selector mesh.Selector
	Rank     mesh.Rank // of both together
}

// Matches are all policies that apply to the same target, the best one first.
type Matches []Match

// Select finds the policies of which some selector matches any of targets: one
// set of tags, or all those of a dataplane.
func Select(policies []*mesh.Resource, by Selectors, targets ...mesh.Tags) Matches {
	var ms Matches
	for _, p := range policies {
		if s, ok := best(by(p.Spec), targets...); ok {
			ms = append(ms, Match{Policy: p, Selector: s, Rank: s.Rank()})
		}
	}
	slices.SortStableFunc(ms, Match.Compare)
	return ms
}

// best returns the selector that fits any of the targets best, the first of
// those that fit alike.
func best(selectors []mesh.Selector, targets ...mesh.Tags) (b mesh.Selector, ok bool) {
	for _, s := range selectors {
		if (!ok || s.Rank().Compare(b.Rank()) > 0) && slices.ContainsFunc(targets, s.Matches) {
			b, ok = s, true
		}
	}
	return b, ok
}

// Compare orders matches: negative where m comes before o.
func (m Match) Compare(o Match) int {
	return cmp.Or(
		o.Rank.Compare(m.Rank),
		o.Policy.Meta.Created.Compare(m.Policy.Meta.Created),
		cmp.Compare(m.Policy.Meta.Name, o.Policy.Meta.Name),
	)
}

// Winner returns the match that fits best, where there is one.
func (ms Matches) Winner() (Match, bool) {
	if len(ms) == 0 {
		return Match{}, false
	}
	return ms[0], true
}

// Beats tells in words why m comes before o, as a clause about o: "which ...".
func (m Match) Beats(o Match) string {
	switch {
	case m.Rank.Compare(o.Rank) != 0:
		return "which fits less closely"
	case !m.Policy.Meta.Created.Equal(o.Policy.Meta.Created):
		return "which fits alike but is older"
	default:
		return "which fits alike and is as old, but sorts later by name"
	}
}
