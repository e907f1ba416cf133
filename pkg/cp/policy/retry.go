package policy

import "github.com/weft-mesh/weft/pkg/mesh"

// Retries chooses among Retries for the calls of whoever has any of sources.
// The winner says what is tried again.
func Retries(policies []*mesh.Resource, sources []mesh.Tags) *Choice {
	return From(policies, func(s mesh.Spec) (from, to []mesh.Selector) {
		p := s.(*mesh.Retry)
		return p.Sources, p.Destinations
	}, sources)
}
