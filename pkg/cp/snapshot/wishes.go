package snapshot

import (
	"maps"
	"slices"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// wishes are the sets of tags that policies lead to: each with more than the
// service is a cluster of its own, with endpoints of its own. They never change.
type wishes struct {
	virtual map[string][]mesh.Tags // by service: what names of the directory call
	named   map[string][]mesh.Tags // by service: what TrafficRoutes lead to
	called  []calledTags
}

// calledTags are a destination "*" of a TrafficRoute: it means the service that
// was called and adds to what was asked of it.
type calledTags struct {
	services map[string]bool // nil: every one
	tags     mesh.Tags
}

// newWishes reads what policies of m lead to; nil is nothing.
func newWishes(m *Mesh) *wishes {
	w := wishes{virtual: m.directory.subsets(), named: map[string][]mesh.Tags{}}
	for _, r := range m.Policies(mesh.TrafficRouteKind).All() {
		s := r.Spec.(*mesh.TrafficRoute)
		for _, tags := range s.Conf.Targets() {
			switch service := tags.Service(); {
			case service != mesh.Any:
				w.named[service] = append(w.named[service], tags)
			case len(tags) > 1:
				w.called = append(w.called, calledTags{servicesOf(s.Destinations), tags})
			}
		}
	}
	if len(w.virtual) == 0 && len(w.named) == 0 && len(w.called) == 0 {
		return nil
	}
	return &w
}

// servicesOf are the services that selectors name, nil where one means all.
func servicesOf(selectors []mesh.Selector) map[string]bool {
	services := map[string]bool{}
	for _, s := range selectors {
		if s.Match.Service() == mesh.Any {
			return nil
		}
		services[s.Match.Service()] = true
	}
	return services
}

// of returns what is wished of a service of which e is known.
func (w *wishes) of(service string, e *entry) []mesh.Tags {
	if w == nil {
		return nil
	}
	all := slices.Concat(w.virtual[service], w.named[service])
	calls := w.virtual[service]
	if e != nil && len(e.speakers)+len(e.asks) > 0 {
		calls = append(slices.Clone(calls), mesh.Tags{mesh.ServiceTag: service})
		for _, k := range slices.Sorted(maps.Keys(e.asks)) {
			calls = append(calls, e.asks[k].tags)
		}
	}
	for _, c := range w.called {
		if c.services != nil && !c.services[service] {
			continue
		}
		for _, tags := range calls {
			all = append(all, c.tags.Target(tags))
		}
	}
	return all
}

// withWishes brings the entries up to date with what policies lead to: all of
// them where that is new, else those that were touched.
func (m *Mesh) withWishes(touched map[string][]shareEdit, isNew bool) {
	if isNew {
		m.wishes = newWishes(m)
	} else if m.wishes == nil {
		return
	}
	edits := map[string]*entry{}
	see := func(service string) {
		e := m.entries.get(service)
		if now := m.wishes.of(service, e); !slices.EqualFunc(e.wished(), now, maps.Equal[mesh.Tags, mesh.Tags]) {
			edits[service] = e.wishing(service, now)
		}
	}
	if !isNew {
		for service := range touched {
			see(service)
		}
	} else {
		for _, row := range m.entries {
			see(row.name)
		}
		if m.wishes != nil {
			for service := range m.wishes.virtual {
				see(service)
			}
			for service := range m.wishes.named {
				see(service)
			}
		}
	}
	m.entries = m.entries.with(edits)
}
