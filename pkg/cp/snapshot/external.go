package snapshot

import (
	"slices"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// An External is one service that is outside of the mesh. It never changes.
type External struct{ members []*mesh.Resource }

// All returns its ExternalServices, sorted by name. The caller must not change
// the list.
func (e *External) All() []*mesh.Resource {
	if e == nil {
		return nil
	}
	return e.members
}

func (e *External) protocol() string {
	speakers := map[string]int{}
	for _, r := range e.All() {
		speakers[known(r.Spec.(*mesh.ExternalService).Protocol())]++
	}
	return common(speakers)
}

// withExternals returns the index of ExternalServices by service, and shares
// with the one before what did not change.
func (m *Mesh) withExternals(old table[*External]) table[*External] {
	edits := map[string]*External{}
	for _, row := range old {
		edits[row.name] = nil
	}
	for _, r := range m.Policies(mesh.ExternalServiceKind).All() {
		service := r.Spec.(*mesh.ExternalService).Tags.Service()
		if edits[service] == nil {
			edits[service] = &External{}
		}
		edits[service].members = append(edits[service].members, r)
	}
	for service, e := range edits {
		if was := old.get(service); was != nil && e != nil && slices.Equal(was.members, e.members) {
			edits[service] = was
		}
	}
	return old.with(edits)
}
