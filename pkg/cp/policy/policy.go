// Package policy chooses which policies apply to what, and tells why.
//
// A policy selects by tags. How well it fits is the rank of its best selector
// that matches: more tags fit better, and of as many tags those with more exact
// values. On a tie the policy that was created later comes first, then the one
// whose name sorts first. Some kinds of policy want the one that fits best,
// some want all that match; both read from the same order.
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
	// Selector is the one of its selectors that fits best, the first of those
	// that fit alike.
	Selector mesh.Selector
	Rank     mesh.Rank
}

// Matches are all policies that apply to the same tags, the best one first.
type Matches []Match

// Select finds the policies of which some selector matches tags.
func Select(policies []*mesh.Resource, by Selectors, tags mesh.Tags) Matches {
	var ms Matches
	for _, p := range policies {
		if m, ok := match(p, by(p.Spec), tags); ok {
			ms = append(ms, m)
		}
	}
	slices.SortStableFunc(ms, Match.compare)
	return ms
}

func match(p *mesh.Resource, selectors []mesh.Selector, tags mesh.Tags) (best Match, ok bool) {
	for _, s := range selectors {
		r := s.Rank()
		if s.Matches(tags) && (!ok || r.Compare(best.Rank) > 0) {
			best, ok = Match{p, s, r}, true
		}
	}
	return best, ok
}

// compare orders matches: negative where m comes before o.
func (m Match) compare(o Match) int {
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
