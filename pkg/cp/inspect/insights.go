package inspect

import (
	"maps"
	"slices"
	"strconv"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// Status tells how a dataplane fares: as a gateway by its connection alone,
// else by how many of its inbounds are ready, too.
func Status(dp *mesh.Dataplane, connected bool) string {
	if !connected {
		return api.Offline
	}
	ready := 0
	for i := range dp.Networking.Inbound {
		if dp.Ready(i) {
			ready++
		}
	}
	switch n := len(dp.Networking.Inbound); {
	case dp.Networking.Gateway != nil || ready == n:
		return api.Online
	case ready == 0:
		return api.Offline
	default:
		return api.PartiallyDegraded
	}
}

// Dataplanes counts the dataplanes of a mesh by what they are.
func Dataplanes(m *snapshot.Mesh, online Online) (all api.Stat, types api.DataplanesByType) {
	for _, r := range m.Dataplanes() {
		dp := r.Spec.(*mesh.Dataplane)
		status := Status(dp, online(m.Name(), r.Meta.Name))
		all.Count(status)
		switch g := dp.Networking.Gateway; {
		case g == nil:
			types.Standard.Count(status)
		case g.Type == mesh.Builtin:
			types.Gateway.Count(status)
			types.GatewayBuiltin.Count(status)
		default:
			types.Gateway.Count(status)
			types.GatewayDelegated.Count(status)
		}
	}
	return all, types
}

// Kinds counts what is in a mesh, by kind. Secrets are not in a snapshot, and
// so not in it.
func Kinds(m *snapshot.Mesh) map[string]api.Total {
	counts := map[string]api.Total{}
	for _, k := range mesh.Kinds {
		n := len(m.Policies(k).All())
		if k == mesh.DataplaneKind {
			n = len(m.Dataplanes())
		}
		if n > 0 {
			counts[k.Name] = api.Total{Total: n}
		}
	}
	return counts
}

// Services tells how the services of a mesh fare, sorted by name.
func Services(m *snapshot.Mesh, online Online) []api.ServiceInsight {
	byName := map[string]*service{}
	for _, r := range m.Dataplanes() {
		dp := r.Spec.(*mesh.Dataplane)
		connected := online(m.Name(), r.Meta.Name)
		if g := dp.Networking.Gateway; g != nil {
			kind := api.ServiceGatewayDelegated
			if g.Type == mesh.Builtin {
				kind = api.ServiceGatewayBuiltin
			}
			of(byName, m, r, g.Tags).count(kind, connected)
			continue
		}
		ready := map[string]bool{}
		for i := range dp.Networking.Inbound {
			tags := dp.Networking.Inbound[i].Tags
			if tags.Service() == "" || dp.Ignored(i) {
				continue
			}
			of(byName, m, r, tags)
			ready[tags.Service()] = ready[tags.Service()] || dp.Ready(i)
		}
		for name, is := range ready {
			byName[name].count("", connected && is)
		}
	}
	for _, r := range m.Policies(mesh.ExternalServiceKind).All() {
		s := of(byName, m, r, r.Spec.(*mesh.ExternalService).Tags)
		if s != nil && s.Dataplanes.Total == 0 {
			s.ServiceType = api.ServiceExternal
		}
	}
	var all []api.ServiceInsight
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		all = append(all, byName[name].done())
	}
	return all
}

// A service is an insight that is being counted.
type service struct {
	api.ServiceInsight
	zones map[string]bool
}

// of returns the service that tags name, with what r tells of it; nil where
// they name none.
func of(all map[string]*service, m *snapshot.Mesh, r *mesh.Resource, tags mesh.Tags) *service {
	name := tags.Service()
	if name == "" {
		return nil
	}
	s := all[name]
	if s == nil {
		s = &service{ServiceInsight: UnknownService(m.Name(), name), zones: map[string]bool{}}
		s.Created = r.Meta.Created
		all[name] = s
	}
	if r.Meta.Created.Before(s.Created) {
		s.Created = r.Meta.Created
	}
	if r.Meta.Modified.After(s.Modified) {
		s.Modified = r.Meta.Modified
	}
	if z := tags[mesh.ZoneTag]; z != "" {
		s.zones[z] = true
	}
	return s
}

// count adds a dataplane.
func (s *service) count(kind string, online bool) {
	if s == nil {
		return
	}
	s.ServiceType = kind
	if online {
		s.Dataplanes.Count(api.Online)
	} else {
		s.Dataplanes.Count(api.Offline)
	}
}

func (s *service) done() api.ServiceInsight {
	in := s.ServiceInsight
	switch d := in.Dataplanes; {
	case d.Total == 0:
		in.Status = api.NotAvailable
	case d.Online == d.Total:
		in.Status = api.Online
	case d.Online == 0:
		in.Status = api.Offline
	default:
		in.Status = api.PartiallyDegraded
	}
	if in.ServiceType == api.ServiceGatewayBuiltin || in.ServiceType == api.ServiceGatewayDelegated {
		in.AddressPort = ""
	}
	in.Zones = slices.Sorted(maps.Keys(s.zones))
	return in
}

// UnknownService is what is told of a service that nobody offers: as with Kuma
// it is no failure to ask for one.
func UnknownService(meshName, name string) api.ServiceInsight {
	return api.ServiceInsight{Mesh: meshName, Name: name, AddressPort: address(name)}
}

// address is at which workloads call a service.
func address(service string) string {
	return service + "." + proxy.Domain + ":" + strconv.Itoa(proxy.VIPPort)
}
