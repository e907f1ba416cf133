package mesh

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// The longest names, in bytes. What becomes one label of a DNS name or part of
// others' names, as a mesh does, gets less: see Kind.MaxName.
const (
	MaxName  = 253
	MaxLabel = 63
)

var (
	namePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	// Meshes of older control planes may have "_" in their names.
	meshRefPattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9_]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9_]*[a-z0-9])?)*$`)
	labelPart      = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`)
)

const nameRule = `must be lower-case letters, digits, "-" and ".", with a letter or digit at both ends of every part, as in "web-1"`

// ValidateName tells what is wrong with the name of a new resource of kind k,
// under the field "name".
func ValidateName(k *Kind, name string) (v Violations) {
	longest := cmp.Or(k.MaxName, MaxName)
	switch {
	case name == "":
		v.Add("name", "must not be empty")
	case len(name) > longest:
		v.Add("name", "must have at most %d characters, has %d", longest, len(name))
	case !namePattern.MatchString(name):
		v.Add("name", nameRule)
	}
	return v
}

// ValidateMeshName tells what is wrong with the name of the mesh that a
// resource says it belongs to, under the field "mesh".
func ValidateMeshName(name string) (v Violations) {
	switch {
	case name == "":
		v.Add("mesh", "must not be empty; the first mesh is called \"default\"")
	case len(name) > MaxName:
		v.Add("mesh", "must have at most %d characters, has %d", MaxName, len(name))
	case !meshRefPattern.MatchString(name):
		v.Add("mesh", nameRule)
	}
	return v
}

// ValidateLabels tells what is wrong with labels. Keys are a name of at most
// 63 characters, or a DNS name, "/" and such a name; values are such a name or
// empty.
func ValidateLabels(labels map[string]string) (v Violations) {
	for _, k := range sortedKeys(labels) {
		prefix, name, ok := strings.Cut(k, "/")
		if !ok {
			prefix, name = "", k
		}
		if ok && (len(prefix) > MaxName || !namePattern.MatchString(prefix)) {
			v.Add(keyed("labels", k), `key must begin with a DNS name before the "/", as in "example.com/team"`)
		}
		if len(name) > 63 || !labelPart.MatchString(name) {
			v.Add(keyed("labels", k), `key must be 1 to 63 letters, digits, "-", "_" and ".", with a letter or digit at both ends`)
		}
		if val := labels[k]; val != "" && (len(val) > 63 || !labelPart.MatchString(val)) {
			v.Add(keyed("labels", k), `value must be at most 63 letters, digits, "-", "_" and ".", with a letter or digit at both ends`)
		}
	}
	return v
}

// Validate tells everything that is wrong with a new resource: its name, its
// mesh, its labels and what it says.
func (r Resource) Validate() (v Violations) {
	if r.Kind.Scope == InMesh {
		v = append(v, ValidateMeshName(r.Meta.Mesh)...)
	} else if r.Meta.Mesh != "" {
		v.Add("mesh", "a %s belongs to no mesh; leave it out", r.Kind.Name)
	}
	if r.Kind.ReadOnly {
		v.Add("type", "a %s is told by the control plane; nobody writes one", r.Kind.Name)
	}
	v = append(v, ValidateName(r.Kind, r.Meta.Name)...)
	v = append(v, ValidateLabels(r.Meta.Labels)...)
	v = append(v, r.validateMeaning()...)
	return append(v, r.Spec.Validate()...)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
