// Package mesh holds the words in which people speak of a mesh: every kind of
// resource, its fields, its defaults and the rules that a valid one obeys.
//
// It imports nothing of ours. A Resource is what its author wrote and is never
// changed in place: whoever wants another one makes a copy.
package mesh

import (
	"fmt"
	"time"
)

// Scope says where the names of a kind are unique.
type Scope int

const (
	// Global kinds have one namespace for the whole control plane.
	Global Scope = iota
	// InMesh kinds have one namespace per mesh.
	InMesh
)

// A Kind is one type of resource. REST routes, weftctl's verbs and the
// reference pages all derive from the Kinds table.
type Kind struct {
	Name     string   // "TrafficPermission", the "type" of its documents
	Path     string   // "traffic-permissions", in URLs
	Singular string   // "traffic-permission", what people type for one
	Aliases  []string // other paths that mean the same, for older clients
	Short    string   // the middle of its KRI, "tp"; "" when it has none
	Scope    Scope
	Admin    bool // only administrators read and write it
	New      func() Spec
}

// A Spec is what a resource says beyond its name. Its JSON form is the
// document that people write, without the fields of Meta.
type Spec interface {
	// Validate tells everything that is wrong, with paths, in the order of
	// the fields. It reads nothing but the spec.
	Validate() Violations
}

// A Version is the store's revision at which a resource was last written. It
// grows with every write of any resource; 0 means "not stored yet".
type Version int64

// Meta is what every resource has.
type Meta struct {
	Mesh     string // "" for global kinds
	Name     string
	Labels   map[string]string
	Version  Version
	Created  time.Time // UTC
	Modified time.Time // UTC
}

// A Resource is one object as its author wrote it. It is never changed in place.
type Resource struct {
	Kind *Kind
	Meta Meta
	Spec Spec
}

// Key returns what the resource is known by.
func (r Resource) Key() Key { return Key{Kind: r.Kind.Name, Mesh: r.Meta.Mesh, Name: r.Meta.Name} }

// A Key names one resource. It is comparable.
type Key struct {
	Kind string
	Mesh string // "" for global kinds
	Name string
}

func (k Key) String() string {
	if k.Mesh == "" {
		return fmt.Sprintf("%s %q", k.Kind, k.Name)
	}
	return fmt.Sprintf("%s %q in mesh %q", k.Kind, k.Name, k.Mesh)
}
