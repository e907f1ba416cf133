package policy

import "github.com/weft-mesh/weft/pkg/mesh"

// Logs chooses among TrafficLogs for the calls of whoever has any of sources.
// The winner says where their lines go.
func Logs(policies []*mesh.Resource, sources []mesh.Tags) *Choice {
	return From(policies, func(s mesh.Spec) (from, to []mesh.Selector) {
		p := s.(*mesh.TrafficLog)
		return p.Sources, p.Destinations
	}, sources)
}
