package plan

import (
	"maps"
	"slices"

	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// Endpoints returns where a service is, under the name of its cluster: every
// ready inbound of which the address is known. It has no members where nobody
// offers the service.
func Endpoints(m *snapshot.Mesh, service string) proxy.Endpoints {
	return endpoints(m.Instances(service), mesh.Tags{mesh.ServiceTag: service})
}

// Subsets returns the endpoints of every cluster that is a part of a service:
// one for each set of tags that some dataplane's networking.outbound asks for.
// Together with Endpoints these are all clusters of the service that any plan
// of the mesh can name, and like those they change only when m.Instances(service)
// is another pointer.
func Subsets(m *snapshot.Mesh, service string) []proxy.Endpoints {
	in := m.Instances(service)
	var all []proxy.Endpoints
	for _, tags := range in.Subsets() {
		all = append(all, endpoints(in, tags))
	}
	return all
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
