package policy

import (
	"slices"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// Ends returns the two lists of selectors by which a policy of connections is
// chosen.
type Ends func(mesh.Spec) (sources, destinations []mesh.Selector)

// Connections finds the policies for connections from whoever has any of
// sources to destination. Their rank is that of the best source selector and
// the best destination selector together.
func Connections(policies []*mesh.Resource, by Ends, sources []mesh.Tags, destination mesh.Tags) Matches {
	return From(policies, by, sources).Matches(destination)
}

// A Choice is half of Connections: its sources are matched, once, and it can
// be asked for as many destinations as there are.
type Choice struct {
	byService map[string]Matches // those of which the destination names a service
	others    Matches            // and those of any
}

// From begins a choice for connections from whoever has any of sources.
func From(policies []*mesh.Resource, by Ends, sources []mesh.Tags) *Choice {
	c := &Choice{byService: map[string]Matches{}}
	for _, p := range policies {
		from, to := by(p.Spec)
		source, ok := best(from, sources...)
		if !ok {
			continue
		}
		for _, d := range to {
			m := Match{Policy: p, Source: source, Selector: d, Rank: source.Rank().Plus(d.Rank())}
			if s := d.Match.Service(); s != "" && s != mesh.Any {
				c.byService[s] = append(c.byService[s], m)
			} else {
				c.others = append(c.others, m)
			}
		}
	}
	for _, ms := range c.byService {
		slices.SortStableFunc(ms, Match.Compare)
	}
	slices.SortStableFunc(c.others, Match.Compare)
	return c
}

// Touches tells whether the choice has a policy for any of the services.
func (c *Choice) Touches(services map[string]bool) bool {
	if len(services) > 0 && len(c.others) > 0 {
		return true
	}
	for s := range c.byService {
		if services[s] {
			return true
		}
	}
	return false
}

// Matches returns all policies for one destination, each once, by the
// destination selector that fits best.
func (c *Choice) Matches(destination mesh.Tags) (ms Matches) {
	c.each(destination, func(m Match) bool {
		if !slices.ContainsFunc(ms, func(o Match) bool { return o.Policy == m.Policy }) {
			ms = append(ms, m)
		}
		return true
	})
	return ms
}

// Winner returns the policy that fits one destination best.
func (c *Choice) Winner(destination mesh.Tags) (w Match, ok bool) {
	c.each(destination, func(m Match) bool {
		w, ok = m, true
		return false
	})
	return w, ok
}

// each yields what matches, best first.
func (c *Choice) each(destination mesh.Tags, yield func(Match) bool) {
	a, b := c.byService[destination.Service()], c.others
	for len(a) > 0 || len(b) > 0 {
		from := &a
		if len(a) == 0 || len(b) > 0 && b[0].Compare(a[0]) < 0 {
			from = &b
		}
		m := (*from)[0]
		*from = (*from)[1:]
		if m.Selector.Matches(destination) && !yield(m) {
			return
		}
	}
}
