package snapshot

import (
	"maps"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// carried are the sets of tags that name one service, by text: of inbounds,
// called or not, and of gateways. It never changes.
type carried map[string]use

// Carries tells whether any part of a dataplane carries what s wants.
func (m *Mesh) Carries(s mesh.Selector) bool {
	of := m.carried
	if name, ok := s.Match[mesh.ServiceTag]; ok && name != mesh.Any {
		i, found := of.find(name)
		if !found {
			return false
		}
		of = of[i : i+1]
	}
	for _, r := range of {
		for _, use := range *r.value {
			if s.Matches(use.tags) {
				return true
			}
		}
	}
	return false
}

// withCarried returns the index of what dataplanes carry after e.
func (m *Mesh) withCarried(e *edit) table[*carried] {
	edits := map[string]*carried{}
	add := func(r *mesh.Resource, n int) {
		if r == nil {
			return
		}
		for _, tags := range r.Spec.(*mesh.Dataplane).TagSets() {
			c := edits[tags.Service()]
			if c == nil {
				c = new(carried)
				if old := m.carried.get(tags.Service()); old != nil {
					*c = maps.Clone(*old)
				}
				edits[tags.Service()] = c
			}
			count((*map[string]use)(c), tags, n)
		}
	}
	for name, now := range e.dataplanes {
		add(m.dataplanes.get(name), -1)
		add(now, +1)
	}
	for name, c := range edits {
		if len(*c) == 0 {
			edits[name] = nil
		}
	}
	return m.carried.with(edits)
}
