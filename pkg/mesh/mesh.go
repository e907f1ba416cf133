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
