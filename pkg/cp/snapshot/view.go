package snapshot

import (
	"net/netip"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// A View is a Mesh that remembers what was read from it. It answers the
// questions that a plan may ask, and no others: so it does not know Instances,
// and endpoints that come and go outdate no plan.
//
// One goroutine at a time may use it.
type View struct {
	mesh      *Mesh
	questions []question
	policies  []policies
}

// policies are those of a kind that were read, and which of them matter.
type policies struct {
	kind    *mesh.Kind
	like    func() Likeness
	matters func(*mesh.Resource) bool
}

// A Likeness is the same for readers to whom the same policies of a kind matter,
// so that one of them is asked.
type Likeness string

// A question is asked of a mesh. A Step knows which have another answer.
type question struct {
	about topic
	kind  *mesh.Kind
	name  string
}

type topic int

const (
	aboutSpec topic = iota
	aboutDataplane
	aboutPolicies
	aboutAny
	aboutServices
	aboutService
	aboutHost
	aboutDirectory
	aboutSecret
	aboutFile
)

// NewView returns a view of m of which nothing was read yet.
func NewView(m *Mesh) *View { return &View{mesh: m} }

// Name returns the mesh's name, which is always the same.
func (v *View) Name() string { return v.mesh.name }

// Spec is Mesh.Spec.
func (v *View) Spec() *mesh.MeshSpec {
	v.ask(question{about: aboutSpec})
	return v.mesh.Spec()
}

// Dataplane is Mesh.Dataplane.
func (v *View) Dataplane(name string) *mesh.Resource {
	v.ask(question{about: aboutDataplane, name: name})
	return v.mesh.Dataplane(name)
}

// Policies is Mesh.Policies.
func (v *View) Policies(kind *mesh.Kind) *PolicySet {
	v.ask(question{about: aboutPolicies, kind: kind})
	return v.mesh.Policies(kind)
}

// Any tells whether the mesh has a policy of a kind at all.
func (v *View) Any(kind *mesh.Kind) bool {
	v.ask(question{about: aboutAny, kind: kind})
	return v.mesh.Policies(kind) != nil
}

// PoliciesThat is Policies for a reader who is bothered only with those that
// matter to him: a change of others, which come and go, outdates nothing, so
// that he must not ask whether there are others (Any tells). like and matters are
// kept: like is asked when all was read, and matters later about policies as
// they were and as they are; it must say the same of equal ones.
func (v *View) PoliciesThat(kind *mesh.Kind, like func() Likeness, matters func(*mesh.Resource) bool) *PolicySet {
	v.policies = append(v.policies, policies{kind, like, matters})
	return v.mesh.Policies(kind)
}

// Services is Mesh.Services. Who needs only some of them asks for each by
// Service, and is not bothered with the others.
func (v *View) Services() *ServiceSet {
	v.ask(question{about: aboutServices})
	return v.mesh.Services()
}

// Service returns one service; its Name is "" where the mesh has no such one.
func (v *View) Service(name string) Service {
	v.ask(question{about: aboutService, name: name})
	s, _ := v.mesh.Services().Get(name)
	return s
}

// Host is Mesh.Host.
func (v *View) Host(address string) netip.Addr {
	v.ask(question{about: aboutHost, name: address})
	return v.mesh.Host(address)
}

// Directory is Mesh.Directory.
func (v *View) Directory() *Directory {
	v.ask(question{about: aboutDirectory})
	return v.mesh.Directory()
}

// Secret is Mesh.Secret.
func (v *View) Secret(name string) mesh.Version {
	v.ask(question{about: aboutSecret, name: name})
	return v.mesh.Secret(name)
}

// File is Mesh.File.
func (v *View) File(path string) string {
	v.ask(question{about: aboutFile, name: path})
	return v.mesh.File(path)
}

// Fresh tells whether every answer that the view gave is the same in next, a
// later moment of the mesh; nil means that the mesh is gone.
func (v *View) Fresh(next *Mesh) bool { return v.After(Between(v.mesh, next)) }

// After is Fresh for many views, of which most stand where the step begins.
// One that is fresh stands on the later moment then.
func (v *View) After(s *Step) bool {
	if s.to == nil || s.to.name != v.mesh.name {
		return false
	}
	if v.mesh == s.to {
		return true
	}
	if v.mesh != s.from { // it was made between the two
		s = Between(v.mesh, s.to)
	}
	for _, q := range v.questions {
		if s.changed[q] {
			return false
		}
	}
	for _, p := range v.policies {
		if s.matters(p.kind, p.matters) {
			return false
		}
	}
	v.mesh = s.to
	return true
}

// ask notes a question; its answer is the mesh's.
func (v *View) ask(q question) { v.questions = append(v.questions, q) }
