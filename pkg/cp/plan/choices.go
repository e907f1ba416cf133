package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/cp/policy"
	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// choices remembers, by kind, which policies there are for calls of this
// workload: whose calls they are is asked once, not for every destination.
type choices map[*mesh.Kind]*policy.Choice

// choice returns the policies of a kind for calls of this workload.
func (p *planner) choice(kind *mesh.Kind, of func([]*mesh.Resource, []mesh.Tags) *policy.Choice) *policy.Choice {
	c := p.choices[kind]
	if c == nil {
		sources, asked := p.dp.TagSets(), p.asked
		c = of(p.view.PoliciesThat(kind, p.calls, func(r *mesh.Resource) bool {
			return of([]*mesh.Resource{r}, sources).Touches(asked)
		}).All(), sources)
		p.choices[kind] = c
	}
	return c
}

// policies returns the policies of a kind that find finds for sets of tags; find
// is kept, and so holds nothing large.
//
// The view is told which of the others do not matter: those that find alone
// would not be found, as whether a policy matches does not depend on others.
// Nor may it depend on anything but the tags.
func (p *planner) policies(kind *mesh.Kind, find func([]*mesh.Resource) policy.Matches, of ...mesh.Tags) policy.Matches {
	like := func() snapshot.Likeness { return likeness(of) }
	return find(p.view.PoliciesThat(kind, like, func(r *mesh.Resource) bool { return len(find([]*mesh.Resource{r})) > 0 }).All())
}

// calls are alike of workloads with the same tags that asked for policies of
// calls to the same services.
func calls(sources []mesh.Tags, asked map[string]bool) snapshot.Likeness {
	return likeness(sources) + snapshot.Likeness("calls "+strings.Join(slices.Sorted(maps.Keys(asked)), " "))
}

func likeness(sets []mesh.Tags) snapshot.Likeness {
	var text []byte
	for _, tags := range sets {
		for _, k := range slices.Sorted(maps.Keys(tags)) {
			text = fmt.Appendf(text, "%q=%q ", k, tags[k])
		}
		text = append(text, '\n')
	}
	return snapshot.Likeness(text)
}

// chosen returns the spec of the policy of a kind that applies to calls of a
// service, and where it comes from. It is nil where none applies.
func chosen[S mesh.Spec](p *planner, kind *mesh.Kind, of func([]*mesh.Resource, []mesh.Tags) *policy.Choice, service string) (spec S, from policy.Match) {
	p.asked[service] = true
	m, ok := p.choice(kind, of).Winner(mesh.Tags{mesh.ServiceTag: service})
	if ok {
		spec = m.Policy.Spec.(S)
	}
	return spec, m
}
