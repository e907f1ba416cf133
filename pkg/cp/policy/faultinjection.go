package policy

import "github.com/weft-mesh/weft/pkg/mesh"

// Faults finds the FaultInjections for an inbound with these tags. All that
// match a call act on it.
func Faults(faults []*mesh.Resource, inbound mesh.Tags) Matches {
	return Inbound(faults, func(s mesh.Spec) (sources, destinations []mesh.Selector) {
		f := s.(*mesh.FaultInjection)
		return f.Sources, f.Destinations
	}, inbound)
}
