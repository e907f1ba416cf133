package snapshot

import (
	"maps"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// A Step leads from one moment of a mesh to another and knows what is
// different, so that thousands of views need not find that out each. One
// goroutine at a time may use it.
type Step struct {
	from, to *Mesh
	topics   [topics]bool // of the questions that may have another answer
	policies map[*mesh.Kind][]replaced
	asked    map[alike]bool // of those that are alike, whether what is different matters
}

type alike struct {
	kind *mesh.Kind
	like Likeness
}

// replaced is a policy that another one has taken the place of; either may be
// nil.
type replaced struct{ was, is *mesh.Resource }

// Between returns the step between two moments of a mesh, of which the second
// may be nil: the mesh is gone.
func Between(from, to *Mesh) *Step {
	s := &Step{from: from, to: to}
	if from == to || from == nil || to == nil {
		return s
	}
	s.topics[aboutSpec] = from.spec != to.spec
	s.topics[aboutDataplane] = !same(from.dataplanes, to.dataplanes)
	s.topics[aboutServices] = from.services != to.services
	s.topics[aboutService] = s.topics[aboutServices]
	s.topics[aboutHost] = !same(from.hosts, to.hosts)
	s.topics[aboutDirectory] = from.directory != to.directory
	s.topics[aboutSecret] = !same(from.secrets, to.secrets)
	s.topics[aboutFile] = !maps.Equal(from.files, to.files)
	for _, policies := range []map[*mesh.Kind]*PolicySet{from.policies, to.policies} {
		for kind := range policies {
			if _, done := s.policies[kind]; done || from.policies[kind] == to.policies[kind] {
				continue
			}
			put(&s.policies, kind, between(from.policies[kind], to.policies[kind]))
			s.topics[aboutPolicies], s.topics[aboutAny] = true, true
		}
	}
	return s
}

// matters tells whether a policy is different that matters to a reader.
func (s *Step) matters(p policies) bool {
	changed := s.policies[p.kind]
	if len(changed) == 0 {
		return false
	}
	key := alike{p.kind, p.like}
	if does, known := s.asked[key]; known {
		return does
	}
	does := slices.ContainsFunc(changed, func(r replaced) bool {
		return r.was != nil && p.matters(r.was) || r.is != nil && p.matters(r.is)
	})
	if p.like != (Likeness{}) {
		put(&s.asked, key, does)
	}
	return does
}

// between returns what is different in two sets.
func between(from, to *PolicySet) (all []replaced) {
	a, b := from.table(), to.table()
	for len(a) > 0 || len(b) > 0 {
		var r replaced
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
			r.was, a = a[0].value, a[1:]
		}
		if order >= 0 {
			r.is, b = b[0].value, b[1:]
		}
		if r.was != r.is {
			all = append(all, r)
		}
	}
	return all
}
