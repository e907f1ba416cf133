package snapshot

import (
	"slices"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// withSharedTags has equal tags of dataplanes be one map, as what thousands of
// them hold is for the most part the same few hundred sets: those of the services
// that they call.
func (m *Mesh) withSharedTags(dataplanes map[string]*mesh.Resource) {
	known := map[string]mesh.Tags{}
	share := func(tags mesh.Tags, of map[string]use) mesh.Tags {
		if len(tags) == 0 {
			return tags
		}
		text := tags.String()
		one, ok := known[text]
		if !ok {
			if one = of[text].tags; one == nil {
				one = tags
			}
			known[text] = one
		}
		return one
	}
	for name, r := range dataplanes {
		if r == nil {
			continue
		}
		now, dp := *r, *r.Spec.(*mesh.Dataplane)
		dp.Networking.Inbound = slices.Clone(dp.Networking.Inbound)
		for i, in := range dp.Networking.Inbound {
			dp.Networking.Inbound[i].Tags = share(in.Tags, m.carriedOf(in.Tags.Service()))
		}
		dp.Networking.Outbound = slices.Clone(dp.Networking.Outbound)
		for i, out := range dp.Networking.Outbound {
			dp.Networking.Outbound[i].Tags = share(out.Tags, m.asksOf(out.Tags.Service()))
		}
		now.Spec = &dp
		dataplanes[name] = &now
	}
}

func (m *Mesh) carriedOf(service string) map[string]use {
	if c := m.carried.get(service); c != nil {
		return *c
	}
	return nil
}

func (m *Mesh) asksOf(service string) map[string]use {
	if e := m.entries.get(service); e != nil {
		return e.asks
	}
	return nil
}
