package snapshot

import (
	"maps"
	"slices"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// wishes are the sets of tags, more than a service's, that policies lead to, by
// service: each is a cluster of its own, with endpoints of its own.
func (m *Mesh) wishes() map[string][]mesh.Tags {
	return m.directory.subsets()
}

// withWishes brings the entries up to date with what policies lead to.
func (m *Mesh) withWishes() {
	now := m.wishes()
	edits := map[string]*entry{}
	for _, row := range m.entries {
		if wishes := now[row.name]; !slices.EqualFunc(row.value.wishes, wishes, maps.Equal[mesh.Tags, mesh.Tags]) {
			edits[row.name] = row.value.wishing(row.name, wishes)
		}
		delete(now, row.name)
	}
	for service, wishes := range now {
		edits[service] = (*entry)(nil).wishing(service, wishes)
	}
	m.entries = m.entries.with(edits)
}
