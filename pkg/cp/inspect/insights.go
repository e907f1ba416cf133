package inspect

import (
	"maps"
	"slices"
	"strconv"

	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// NotAvailable is a service of which nothing tells: it is outside of the mesh.
const NotAvailable = "not_available"

// What a service is offered by. Internal is what documents leave out.
const (
	Internal         = "internal"
	External         = "external"
	GatewayBuiltin   = "gateway_builtin"
	GatewayDelegated = "gateway_delegated"
)

// unknown is the version of what was never connected.
const unknown = "unknown"

func count(n *mesh.DataplaneCount, status string) {
	n.Total++
	switch status {
	case mesh.Online:
		n.Online++
	case mesh.PartiallyDegraded:
		n.PartiallyDegraded++
	default:
		n.Offline++
	}
}

// Known tells how the proxy of a dataplane fares, as far as that is at hand.
type Known func(mesh, name string) mesh.DataplaneInsight

// Mesh counts what is in a mesh. Secrets are not in a snapshot, and so not among
// the resources.
func Mesh(m *snapshot.Mesh, online Online, known Known) *mesh.MeshInsight {
	in := &mesh.MeshInsight{Policies: map[string]mesh.Total{}, Resources: map[string]mesh.Total{}}
	agents, envoys := map[string]mesh.DataplaneCount{}, map[string]mesh.DataplaneCount{}
	issued, supported := map[string]mesh.DataplaneCount{}, map[string]mesh.DataplaneCount{}
	for _, r := range m.Dataplanes() {
		dp := r.Spec.(*mesh.Dataplane)
		status := dp.Status(online(m.Name(), r.Meta.Name))
		count(&in.Dataplanes, status)
		for _, n := range byType(&in.DataplanesByType, dp.Networking.Gateway) {
			count(n, status)
		}
		proxy := known(m.Name(), r.Meta.Name)
		agent, envoy := versions(proxy)
		countBy(agents, agent, status)
		countBy(envoys, envoy, status)
		if c := proxy.MTLS; c != nil {
			countBy(issued, c.IssuedBackend, status)
			for _, b := range c.SupportedBackends {
				countBy(supported, b, status)
			}
		}
	}
	if len(agents) > 0 {
		in.DPVersions = mesh.DPVersions{KumaDP: agents, Envoy: envoys}
	}
	in.MTLS = mesh.MTLSCount{IssuedBackends: issued, SupportedBackends: supported}
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
	for _, s := range Services(m, online, known) {
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

// versions are what the proxy of a dataplane ran on its newest stream.
func versions(in mesh.DataplaneInsight) (agent, envoy string) {
	for _, s := range in.Subscriptions {
		if v := s.Version; v != nil && v.KumaDP != nil {
			agent = v.KumaDP.Version
		}
		if v := s.Version; v != nil && v.Envoy != nil {
			envoy = v.Envoy.Version
		}
	}
	return agent, envoy
}

// countBy counts a dataplane by a version or a backend.
func countBy(all map[string]mesh.DataplaneCount, key, status string) {
	if key == "" {
		key = unknown
	}
	n := all[key]
	count(&n, status)
	all[key] = n
}

// Services tells how the services of a mesh fare: ServiceInsights, sorted by
// name.
func Services(m *snapshot.Mesh, online Online, known Known) (all []mesh.Resource) {
	byName := map[string]*service{}
	for _, r := range m.Dataplanes() {
		dp := r.Spec.(*mesh.Dataplane)
		connected := online(m.Name(), r.Meta.Name)
		issued := ""
		if c := known(m.Name(), r.Meta.Name).MTLS; c != nil {
			issued = c.IssuedBackend
		}
		if g := dp.Networking.Gateway; g != nil {
			kind := GatewayDelegated
			if g.Type == mesh.Builtin {
				kind = GatewayBuiltin
			}
			if s := of(byName, m, r, g.Tags); s != nil {
				s.count(kind, connected, issued)
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
			byName[name].count("", connected && is, issued)
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

// count adds a dataplane; issued is the backend that signed its certificate.
func (s *service) count(kind string, online bool, issued string) {
	s.in.ServiceType = kind
	if issued != "" {
		if s.in.IssuedBackends == nil {
			s.in.IssuedBackends = map[string]uint32{}
		}
		s.in.IssuedBackends[issued]++
	}
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
		s.in.Status = mesh.Online
	case d.Online == 0:
		s.in.Status = mesh.Offline
	default:
		s.in.Status = mesh.PartiallyDegraded
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
