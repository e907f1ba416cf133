package snapshot

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// A writer stands for the store: it numbers changes.
type writer struct{ at mesh.Version }

func (w *writer) put(kind *mesh.Kind, meshName, name string, spec mesh.Spec) store.Change {
	w.at++
	r := &mesh.Resource{Kind: kind, Meta: mesh.Meta{Mesh: meshName, Name: name, Version: w.at}, Spec: spec}
	return store.Change{Key: r.Key(), Version: w.at, Now: r}
}

func (w *writer) delete(kind *mesh.Kind, meshName, name string) store.Change {
	w.at++
	return store.Change{Key: mesh.Key{Kind: kind.Name, Mesh: meshName, Name: name}, Version: w.at}
}

func (w *writer) mesh(name string) store.Change {
	return w.put(mesh.MeshKind, "", name, &mesh.MeshSpec{})
}

func (w *writer) dataplane(name, address string, inbounds ...mesh.Inbound) store.Change {
	return w.put(mesh.DataplaneKind, "default", name, &mesh.Dataplane{
		Networking: mesh.DataplaneNetworking{Address: address, Inbound: inbounds},
	})
}

func (w *writer) permission(name string) store.Change {
	return w.put(mesh.TrafficPermissionKind, "default", name, &mesh.TrafficPermission{})
}

// route leads calls of a service to what has the tags.
func (w *writer) route(meshName, name, of string, to mesh.Tags) store.Change {
	return w.put(mesh.TrafficRouteKind, meshName, name, &mesh.TrafficRoute{
		Destinations: []mesh.Selector{{Match: mesh.Tags{mesh.ServiceTag: of}}},
		Conf:         &mesh.TrafficRouteConf{Destination: to},
	})
}

func (w *writer) external(meshName, name, service, address string) store.Change {
	return w.put(mesh.ExternalServiceKind, meshName, name, &mesh.ExternalService{
		Networking: mesh.ExternalNetworking{Address: address},
		Tags:       mesh.Tags{mesh.ServiceTag: service, mesh.ProtocolTag: "http", "version": "v9"},
	})
}

// virtual makes a VirtualOutbound with the parameters s (the service) and v
// (its version) for whatever has a version.
func (w *writer) virtual(meshName, name, host, port string) store.Change {
	return w.put(mesh.VirtualOutboundKind, meshName, name, &mesh.VirtualOutbound{
		Selectors: []mesh.Selector{{Match: mesh.Tags{"version": "*"}}},
		Conf: mesh.VirtualOutboundConf{Host: host, Port: port, Parameters: []mesh.VirtualParameter{
			{Name: "s", TagKey: mesh.ServiceTag}, {Name: "v", TagKey: "version"},
		}},
	})
}

// inbound makes one at port 8080, with tags as in "version=v1".
func inbound(service string, tags ...string) mesh.Inbound {
	in := mesh.Inbound{Port: 8080, Tags: mesh.Tags{mesh.ServiceTag: service}}
	for _, t := range tags {
		k, v, _ := strings.Cut(t, "=")
		in.Tags[k] = v
	}
	return in
}

func state(t testing.TB, changes ...store.Change) *State {
	t.Helper()
	return Next(Empty(), Input{Changes: changes})
}

func hosts(pairs ...string) map[string]netip.Addr {
	m := map[string]netip.Addr{}
	for _, p := range pairs {
		name, addr, _ := strings.Cut(p, "=")
		m[name] = netip.MustParseAddr(addr)
	}
	return m
}

// dump prints all that can be asked of a state.
func dump(s *State) string {
	var b strings.Builder
	fmt.Fprintf(&b, "version %d\nhosts %v\n", s.Version(), s.HostNames())
	for _, name := range s.Meshes() {
		m := s.Mesh(name)
		fmt.Fprintf(&b, "mesh %s %p\n", m.Name(), m.Spec())
		for _, r := range m.Dataplanes() {
			fmt.Fprintf(&b, "  dataplane %s @%d %v\n", r.Meta.Name, r.Meta.Version, m.Dataplane(r.Meta.Name) == r)
		}
		for _, k := range mesh.Kinds {
			for _, r := range m.Policies(k).All() {
				fmt.Fprintf(&b, "  %s %s @%d\n", k.Name, r.Meta.Name, r.Meta.Version)
			}
		}
		for sv := range m.Services().All() {
			fmt.Fprintf(&b, "  service %s %s %d offered %t\n", sv.Name, sv.Protocol, sv.Slot, sv.Offered)
			for _, r := range sv.External.All() {
				fmt.Fprintf(&b, "    external %s @%d\n", r.Meta.Name, r.Meta.Version)
			}
		}
		for _, n := range m.Directory().All() {
			fmt.Fprintf(&b, "  name %s %d\n", n.Host, n.Slot)
			for _, c := range n.Calls {
				fmt.Fprintf(&b, "    %d %s by %s @%d\n", c.Port, c.Tags, c.From.Meta.Name, c.From.Meta.Version)
			}
		}
		for _, f := range m.Directory().Faults() {
			fmt.Fprintf(&b, "  fault %s %s %s\n", f.From.Meta.Name, f.Tags, f.Why)
		}
		for _, r := range m.carried {
			for _, tags := range slices.Sorted(maps.Keys(*r.value)) {
				fmt.Fprintf(&b, "  carried %s by %d\n", tags, (*r.value)[tags].n)
			}
		}
		for i := range 6 {
			fmt.Fprintf(&b, "  secret n%d @%d\n", i, m.Secret(fmt.Sprint("n", i)))
		}
		for _, service := range Changed(nil, m) {
			in := m.Instances(service)
			fmt.Fprintf(&b, "  instances %s %v\n", in.Service(), in.Subsets())
			for i := range in.All() {
				fmt.Fprintf(&b, "    %s %s %s %s\n", i.Dataplane, i.Host, i.Address, i.Tags)
			}
		}
	}
	return b.String()
}
