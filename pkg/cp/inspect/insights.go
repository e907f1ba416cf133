package inspect

import (
	"maps"
	"slices"
	"strconv"

	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// What a service or a dataplane is.
const (
	IsOnline          = "online"
	IsOffline         = "offline"
	PartiallyDegraded = "partially_degraded"
	NotAvailable      = "not_available" // nothing tells: it is outside of the mesh
)

// What a service is offered by. Internal is what documents leave out.
const (
	Internal         = "internal"
	External         = "external"
	GatewayBuiltin   = "gateway_builtin"
	GatewayDelegated = "gateway_delegated"
)

// unknown is the version of what is not connected.
const unknown = "unknown"

// Status tells how a dataplane fares: as a gateway by its connection alone,
// else by how many of its inbounds are ready, too.
func Status(dp *mesh.Dataplane, connected bool) string {
	if !connected {
		return IsOffline
	}
	ready := 0
	for i := range dp.Networking.Inbound {
		if dp.Ready(i) {
			ready++
		}
	}
	switch n := len(dp.Networking.Inbound); {
	case dp.Networking.Gateway != nil || ready == n:
		return IsOnline
	case ready == 0:
		return IsOffline
	default:
		return PartiallyDegraded
	}
}

func count(n *mesh.DataplaneCount, status string) {
	n.Total++
	switch status {
	case IsOnline:
		n.Online++
	case PartiallyDegraded:
		n.PartiallyDegraded++
	default:
		n.Offline++
	}
}

// Mesh counts what is in a mesh. versions tells what a connected dataplane
// runs. Secrets are not in a snapshot, and so not among the resources.
func Mesh(m *snapshot.Mesh, online Online, versions func(name string) (agent, envoy string)) *mesh.MeshInsight {
	in := &mesh.MeshInsight{Policies: map[string]mesh.Total{}, Resources: map[string]mesh.Total{}}
	agents, envoys := map[string]mesh.DataplaneCount{}, map[string]mesh.DataplaneCount{}
	for _, r := range m.Dataplanes() {
		dp := r.Spec.(*mesh.Dataplane)
		status := Status(dp, online(m.Name(), r.Meta.Name))
		count(&in.Dataplanes, status)
		for _, n := range byType(&in.DataplanesByType, dp.Networking.Gateway) {
			count(n, status)
		}
		agent, envoy := versions(r.Meta.Name)
		countVersion(agents, agent, status)
		countVersion(envoys, envoy, status)
	}
	if len(agents) > 0 {
		in.DPVersions = mesh.DPVersions{KumaDP: agents, Envoy: envoys}
	}
	for _, k := range mesh.Kinds {
		n := len(m.Policies(k).All())
		if k == mesh.DataplaneKind {
			n = len(m.Dataplanes())
		}
		if n == 0 {
			continue
		}
		in.Resources[k.Name] = mesh.Total{Total: uint32(n)}
		if k.Policy != nil {
			in.Policies[k.Name] = mesh.Total{Total: uint32(n)}
		}
	}
	for _, s := range Services(m, online) {
		in.Services.Total++
		if s.Spec.(*mesh.ServiceInsight).ServiceType == External {
			in.Services.External++
		} else {
			in.Services.Internal++
		}
	}
	return in
}

func byType(types *mesh.DataplanesByType, g *mesh.Gateway) []*mesh.DataplaneCount {
	switch {
	case g == nil:
		return []*mesh.DataplaneCount{&types.Standard}
	case g.Type == mesh.Builtin:
		return []*mesh.DataplaneCount{&types.Gateway, &types.GatewayBuiltin}
	default:
		return []*mesh.DataplaneCount{&types.Gateway, &types.GatewayDelegated}
	}
}

func countVersion(all map[string]mesh.DataplaneCount, version, status string) {
	if version == "" {
		version = unknown
	}
	n := all[version]
	count(&n, status)
	all[version] = n
}

// Services tells how the services of a mesh fare: ServiceInsights, sorted by
// name.
func Services(m *snapshot.Mesh, online Online) (all []mesh.Resource) {
	byName := map[string]*service{}
	for _, r := range m.Dataplanes() {
		dp := r.Spec.(*mesh.Dataplane)
		connected := online(m.Name(), r.Meta.Name)
		if g := dp.Networking.Gateway; g != nil {
			kind := GatewayDelegated
			if g.Type == mesh.Builtin {
				kind = GatewayBuiltin
			}
			if s := of(byName, m, r, g.Tags); s != nil {
				s.count(kind, connected)
			}
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
		if s := of(byName, m, r, r.Spec.(*mesh.ExternalService).Tags); s != nil && s.in.Dataplanes.Total == 0 {
			s.in.ServiceType = External
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		all = append(all, byName[name].done())
	}
	return all
}

// A service is an insight that is being counted.
type service struct {
	mesh.Resource
	in    *mesh.ServiceInsight // the resource's
	zones map[string]bool
}

// of returns the service that tags name, with what r tells of it; nil where
// they name none. It is as old as the first that offers it, and changed when
// the last of them did.
func of(all map[string]*service, m *snapshot.Mesh, r *mesh.Resource, tags mesh.Tags) *service {
	name := tags.Service()
	if name == "" {
		return nil
	}
	s := all[name]
	if s == nil {
		s = &service{Resource: UnknownService(m.Name(), name), zones: map[string]bool{}}
		s.in = s.Spec.(*mesh.ServiceInsight)
		s.Meta.Created = r.Meta.Created
		all[name] = s
	}
	if r.Meta.Created.Before(s.Meta.Created) {
		s.Meta.Created = r.Meta.Created
	}
	if r.Meta.Modified.After(s.Meta.Modified) {
		s.Meta.Modified = r.Meta.Modified
	}
	if z := tags[mesh.ZoneTag]; z != "" {
		s.zones[z] = true
	}
	return s
}

// count adds a dataplane.
func (s *service) count(kind string, online bool) {
	s.in.ServiceType = kind
	s.in.Dataplanes.Total++
	if online {
		s.in.Dataplanes.Online++
	} else {
		s.in.Dataplanes.Offline++
	}
}

func (s *service) done() mesh.Resource {
	switch d := s.in.Dataplanes; {
	case d.Total == 0:
		s.in.Status = NotAvailable
	case d.Online == d.Total:
		s.in.Status = IsOnline
	case d.Online == 0:
		s.in.Status = IsOffline
	default:
		s.in.Status = PartiallyDegraded
	}
	if s.in.ServiceType == GatewayBuiltin || s.in.ServiceType == GatewayDelegated {
		s.in.AddressPort = "" // nobody in the mesh calls it
	}
	s.in.Zones = slices.Sorted(maps.Keys(s.zones))
	return s.Resource
}

// UnknownService is what is told of a service that nobody offers: as with Kuma
// it is no failure to ask for one.
func UnknownService(meshName, name string) mesh.Resource {
	return mesh.Resource{
		Kind: mesh.ServiceInsightKind, Meta: mesh.Meta{Mesh: meshName, Name: name},
		Spec: &mesh.ServiceInsight{AddressPort: name + "." + proxy.Domain + ":" + strconv.Itoa(proxy.VIPPort)},
	}
}
