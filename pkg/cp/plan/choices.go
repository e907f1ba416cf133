package plan

import (
	"github.com/weft-mesh/weft/pkg/cp/policy"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// choices remembers, by kind, which policies there are for calls of this
// workload: whose calls they are is asked once, not for every destination.
type choices map[*mesh.Kind]*policy.Choice

// choice returns the policies of a kind for calls of this workload.
func (p *planner) choice(kind *mesh.Kind, of func([]*mesh.Resource, []mesh.Tags) *policy.Choice) *policy.Choice {
	c := p.choices[kind]
	if c == nil {
		c = of(p.view.Policies(kind).All(), p.dp.TagSets())
		p.choices[kind] = c
	}
	return c
}

// chosen returns the spec of the policy of a kind that applies to calls of a
// service, and where it comes from. It is nil where none applies.
func chosen[S mesh.Spec](p *planner, kind *mesh.Kind, of func([]*mesh.Resource, []mesh.Tags) *policy.Choice, service string) (spec S, from policy.Match) {
	m, ok := p.choice(kind, of).Winner(mesh.Tags{mesh.ServiceTag: service})
	if ok {
		spec = m.Policy.Spec.(S)
	}
	return spec, m
}
