package snapshot

import (
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// An edit is what happens to one mesh in one step. A nil resource is deleted.
type edit struct {
	spec       *mesh.MeshSpec
	setSpec    bool
	dataplanes map[string]*mesh.Resource
	policies   map[*mesh.Kind]map[string]*mesh.Resource
	secrets    map[string]mesh.Version
	// moved names the dataplanes with a host name that has another address now.
	moved []string
	files bool // those that resources name have other content now
}

// editsOf sorts changes by mesh; of several changes of one resource the last
// one counts.
func editsOf(changes []store.Change) map[string]*edit {
	edits := map[string]*edit{}
	for _, c := range changes {
		switch kind, _ := mesh.KindByName(c.Key.Kind); kind {
		case nil:
		case mesh.SecretKind:
			if mesh.OwnSecret(c.Key.Name) {
				continue
			}
			e, version := editOf(edits, c.Key.Mesh), mesh.Version(0)
			if c.Now != nil {
				version = c.Now.Meta.Version
			}
			put(&e.secrets, c.Key.Name, version)
		case mesh.MeshKind:
			e := editOf(edits, c.Key.Name)
			e.spec, e.setSpec = nil, true
			if c.Now != nil {
				e.spec = c.Now.Spec.(*mesh.MeshSpec)
			}
		case mesh.DataplaneKind:
			e := editOf(edits, c.Key.Mesh)
			put(&e.dataplanes, c.Key.Name, c.Now)
		default:
			if kind.Scope == mesh.Global || kind.Pending != "" {
				continue // no plan reads it
			}
			e := editOf(edits, c.Key.Mesh)
			of := e.policies[kind]
			put(&of, c.Key.Name, c.Now)
			put(&e.policies, kind, of)
		}
	}
	return edits
}

func editOf(edits map[string]*edit, name string) *edit {
	e := edits[name]
	if e == nil {
		e = &edit{}
		edits[name] = e
	}
	return e
}

// put writes into a map that may not be there yet.
func put[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[k] = v
}
