package plan

import (
	"maps"
	"slices"

	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// Endpoints returns the endpoints of every cluster of a service that any plan of
// the mesh can name: the service itself, and each set of tags that outbounds or
// policies ask for; each once, and where proxies prefer their own zone as it is
// seen from every zone. A member is a ready inbound of which the address is
// known. They change only when snapshot.Changed names the service.
func Endpoints(m *snapshot.Mesh, service string) (all []proxy.Endpoints) {
	in := m.Instances(service)
	for _, tags := range append([]mesh.Tags{{mesh.ServiceTag: service}}, in.Subsets()...) {
		e := endpoints(in, tags)
		all = append(all, e)
		for _, zone := range m.Localities() {
			all = append(all, seenFrom(zone, e))
		}
	}
	return all
}

// seenFrom puts the members of a zone before all others. From a zone that has
// none of them all are alike.
func seenFrom(zone string, e proxy.Endpoints) proxy.Endpoints {
	seen := proxy.Endpoints{Cluster: proxy.EndpointsName(e.Cluster, zone), Members: slices.Clone(e.Members)}
	near := func(m proxy.Endpoint) bool { return m.Zone == zone }
	if !slices.ContainsFunc(e.Members, near) {
		return seen
	}
	for i, m := range seen.Members {
		if !near(m) {
			seen.Members[i].Priority = 1
		}
	}
	return seen
}

func endpoints(in *snapshot.Instances, tags mesh.Tags) proxy.Endpoints {
	e := proxy.Endpoints{Cluster: Cluster(tags), Members: []proxy.Endpoint{}}
	for i := range in.All() {
		if !i.Address.IsValid() || !(mesh.Selector{Match: tags}).Matches(i.Tags) {
			continue
		}
		t := maps.Clone(i.Tags)
		delete(t, mesh.ServiceTag)
		e.Members = append(e.Members, proxy.Endpoint{Address: i.Address, Tags: t, Zone: i.Tags[mesh.ZoneTag]})
	}
	slices.SortStableFunc(e.Members, func(a, b proxy.Endpoint) int { return a.Address.Compare(b.Address) })
	return e
}
