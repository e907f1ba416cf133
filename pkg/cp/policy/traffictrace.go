package policy

import "github.com/weft-mesh/weft/pkg/mesh"

// Traces finds the TrafficTraces for a dataplane that has any of these sets of
// tags. The winner says where its proxy's spans go.
func Traces(policies []*mesh.Resource, dataplane []mesh.Tags) Matches {
	return Select(policies, func(s mesh.Spec) []mesh.Selector {
		return s.(*mesh.TrafficTrace).Selectors
	}, dataplane...)
}
