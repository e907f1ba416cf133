package policy

import "github.com/weft-mesh/weft/pkg/mesh"

// Routes chooses among TrafficRoutes for the calls of whoever has any of
// sources. The winner says where they go.
func Routes(policies []*mesh.Resource, sources []mesh.Tags) *Choice {
	return From(policies, func(s mesh.Spec) (from, to []mesh.Selector) {
		p := s.(*mesh.TrafficRoute)
		return p.Sources, p.Destinations
	}, sources)
}
