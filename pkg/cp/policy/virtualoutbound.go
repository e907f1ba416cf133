package policy

import "github.com/weft-mesh/weft/pkg/mesh"

// VirtualOutbounds finds those that name what has these tags. All of them do.
func VirtualOutbounds(virtual []*mesh.Resource, tags mesh.Tags) Matches {
	return Select(virtual, func(s mesh.Spec) []mesh.Selector { return s.(*mesh.VirtualOutbound).Selectors }, tags)
}
