package plan

import "github.com/weft-mesh/weft/pkg/mesh"

// taggings are all tags by which the dataplane is known.
func (p *planner) taggings() (all []mesh.Tags) {
	for i := range p.dp.Networking.Inbound {
		all = append(all, p.dp.Networking.Inbound[i].Tags)
	}
	if g := p.dp.Networking.Gateway; g != nil {
		all = append(all, g.Tags)
	}
	return all
}

// ownZone is the zone of which the dataplane prefers members; "" where the mesh
// does not ask for that.
func (p *planner) ownZone() string {
	if !p.spec.LocalityAware() {
		return ""
	}
	return p.dp.Zone()
}
