package policy

import "github.com/weft-mesh/weft/pkg/mesh"

// Timeouts chooses among Timeouts for the calls of whoever has any of sources.
// The winner says how long they may take.
func Timeouts(policies []*mesh.Resource, sources []mesh.Tags) *Choice {
	return From(policies, func(s mesh.Spec) (from, to []mesh.Selector) {
		p := s.(*mesh.Timeout)
		return p.Sources, p.Destinations
	}, sources)
}
