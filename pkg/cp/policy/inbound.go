package policy

import (
	"slices"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// Inbound finds all policies for calls to an inbound with these tags. Who
// calls is known only when he does, so sources have no part in what is found;
// but they are the rank: whose best source is narrowest comes first.
func Inbound(policies []*mesh.Resource, by Ends, inbound mesh.Tags) Matches {
	var ms Matches
	for _, p := range policies {
		from, to := by(p.Spec)
		d, ok := best(to, inbound)
		if !ok {
			continue
		}
		if s, ok := narrowest(from); ok {
			ms = append(ms, Match{Policy: p, Source: s, Selector: d, Rank: s.Rank()})
		}
	}
	slices.SortStableFunc(ms, Match.Compare)
	return ms
}

// narrowest returns the selector of the highest rank, the first of those of
// one rank.
func narrowest(selectors []mesh.Selector) (n mesh.Selector, ok bool) {
	for _, s := range selectors {
		if !ok || s.Rank().Compare(n.Rank()) > 0 {
			n, ok = s, true
		}
	}
	return n, ok
}
