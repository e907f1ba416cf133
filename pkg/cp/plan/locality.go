package plan

// ownZone is the zone of which the dataplane prefers members; "" where the mesh
// does not ask for that.
func (p *planner) ownZone() string {
	if !p.spec.LocalityAware() {
		return ""
	}
	return p.dp.Zone()
}
