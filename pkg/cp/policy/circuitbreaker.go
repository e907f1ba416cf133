package policy

import "github.com/weft-mesh/weft/pkg/mesh"

// CircuitBreakers chooses among CircuitBreakers for the calls of whoever has
// any of sources. The winner says which endpoints are left out and what is too
// much.
func CircuitBreakers(policies []*mesh.Resource, sources []mesh.Tags) *Choice {
	return From(policies, func(s mesh.Spec) (from, to []mesh.Selector) {
		p := s.(*mesh.CircuitBreaker)
		return p.Sources, p.Destinations
	}, sources)
}
