package policy

import "github.com/weft-mesh/weft/pkg/mesh"

// HealthChecks chooses among HealthChecks for the calls of whoever has any of
// sources. The winner says how the destination's endpoints are checked.
func HealthChecks(policies []*mesh.Resource, sources []mesh.Tags) *Choice {
	return From(policies, func(s mesh.Spec) (from, to []mesh.Selector) {
		p := s.(*mesh.HealthCheck)
		return p.Sources, p.Destinations
	}, sources)
}
