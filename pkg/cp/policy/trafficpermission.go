package policy

import "github.com/weft-mesh/weft/pkg/mesh"

// Permissions finds the TrafficPermissions for an inbound with these tags. Only
// the winner decides who may call it: all of its sources, and no others. Its
// sources have no part in the choice, so the permissions that it beats are
// shadowed, not added.
func Permissions(permissions []*mesh.Resource, inbound mesh.Tags) Matches {
	return Select(permissions, destinations, inbound)
}

func destinations(s mesh.Spec) []mesh.Selector {
	return s.(*mesh.TrafficPermission).Destinations
}

// Permitted chooses among TrafficPermissions for the calls of whoever has any
// of sources: those that could let him in, whichever of them decides at the far
// end.
func Permitted(permissions []*mesh.Resource, sources []mesh.Tags) *Choice {
	return From(permissions, func(s mesh.Spec) (from, to []mesh.Selector) {
		p := s.(*mesh.TrafficPermission)
		return p.Sources, p.Destinations
	}, sources)
}
