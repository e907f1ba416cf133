package snapshot

import (
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// A Step leads from one moment of a mesh to another and knows which questions
// have another answer, so that thousands of readers need not find that out each.
// It never changes.
type Step struct {
	from, to *Mesh
	all      bool // one of the two is not there
	changed  map[question]bool
	policies map[*mesh.Kind][]replaced
}

// replaced is a policy that another one has taken the place of; either may be
// nil.
type replaced struct{ was, is *mesh.Resource }

// Between returns the step between two moments of a mesh, of which either may
// be nil: the mesh is not there.
func Between(from, to *Mesh) *Step {
	s := &Step{from: from, to: to, all: from != to && (from == nil || to == nil)}
	if from == to || s.all {
		return s
	}
	if from.spec != to.spec {
		s.note(aboutSpec, nil, "")
	}
	if from.services != to.services {
		s.note(aboutServices, nil, "")
		differ(from.services.rows, to.services.rows, func(name string, was, is Service) { s.note(aboutService, nil, name) })
	}
	if from.directory != to.directory {
		s.note(aboutDirectory, nil, "")
	}
	differ(from.dataplanes, to.dataplanes, func(name string, was, is *mesh.Resource) { s.note(aboutDataplane, nil, name) })
	differ(from.secrets, to.secrets, func(name string, was, is mesh.Version) { s.note(aboutSecret, nil, name) })
	differ(from.hosts, to.hosts, func(name string, was, is *host) {
		if from.Host(name) != to.Host(name) { // and not only who uses it
			s.note(aboutHost, nil, name)
		}
	})
	for _, files := range []map[string]string{from.files, to.files} {
		for path := range files {
			if from.files[path] != to.files[path] {
				s.note(aboutFile, nil, path)
			}
		}
	}
	for _, policies := range []map[*mesh.Kind]*PolicySet{from.policies, to.policies} {
		for kind := range policies {
			if _, done := s.policies[kind]; !done && from.policies[kind] != to.policies[kind] {
				s.exchange(kind, from.policies[kind], to.policies[kind])
			}
		}
	}
	return s
}

func (s *Step) note(about topic, kind *mesh.Kind, name string) {
	put(&s.changed, question{about, kind, name}, true)
}

// exchange notes that the policies of a kind are others.
func (s *Step) exchange(kind *mesh.Kind, from, to *PolicySet) {
	s.note(aboutPolicies, kind, "")
	if (from == nil) != (to == nil) {
		s.note(aboutAny, kind, "")
	}
	var all []replaced
	differ(from.table(), to.table(), func(_ string, was, is *mesh.Resource) { all = append(all, replaced{was, is}) })
	put(&s.policies, kind, all)
}

// matters tells whether a policy of a kind is different that matters to a reader.
func (s *Step) matters(kind *mesh.Kind, to func(*mesh.Resource) bool) bool {
	return slices.ContainsFunc(s.policies[kind], func(r replaced) bool {
		return r.was != nil && to(r.was) || r.is != nil && to(r.is)
	})
}

// differ tells of each name of which two tables say something else; what is not
// there is the zero value.
func differ[V comparable](a, b table[V], tell func(name string, was, is V)) {
	if same(a, b) {
		return
	}
	for len(a) > 0 || len(b) > 0 {
		var name string
		var was, is V
		var order int
		switch {
		case len(a) == 0:
			order = 1
		case len(b) == 0:
			order = -1
		default:
			order = strings.Compare(a[0].name, b[0].name)
		}
		if order <= 0 {
			name, was, a = a[0].name, a[0].value, a[1:]
		}
		if order >= 0 {
			name, is, b = b[0].name, b[0].value, b[1:]
		}
		if was != is {
			tell(name, was, is)
		}
	}
}
