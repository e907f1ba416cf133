package plan

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// VIP returns the virtual addresses of a service, two zero ones where the mesh
// has no such service.
func VIP(m *snapshot.Mesh, service string) (v4, v6 netip.Addr) {
	s, ok := m.Services().Get(service)
	if !ok {
		return v4, v6
	}
	return vip(s.Slot)
}

// vip returns where what has a slot answers. The IPv6 address ends in the IPv4
// one, so that people recognise it.
func vip(slot uint32) (v4, v6 netip.Addr) {
	a, b := proxy.VIP4.Addr().As4(), proxy.VIP6.Addr().As16()
	binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(a[:])|slot)
	copy(b[12:], a[:])
	return netip.AddrFrom4(a), netip.AddrFrom16(b)
}

// Names returns what the agents of a mesh answer for services, sorted: service
// "my_api" is "my_api.mesh" and, as not every client can say "_", "my.api.mesh".
// Where two services want the same name, it belongs to the one that is called
// so, else to the one that sorts first. Beside them are the names of the mesh's
// directory. Names are in lower case.
func Names(m *snapshot.Mesh) []proxy.Name {
	addresses := map[string][]netip.Addr{}
	give := func(name string, s snapshot.Service) {
		name = strings.ToLower(name) + "." + proxy.Domain
		if addresses[name] == nil && callable(s.Name) {
			v4, v6 := vip(s.Slot)
			addresses[name] = []netip.Addr{v4, v6}
		}
	}
	for s := range m.Services().All() {
		give(s.Name, s)
	}
	for s := range m.Services().All() {
		give(strings.ReplaceAll(s.Name, "_", "."), s)
	}
	ports := map[string][]uint16{}
	for _, n := range m.Directory().All() {
		if addresses[n.Host] == nil {
			v4, v6 := vip(n.Slot)
			addresses[n.Host] = []netip.Addr{v4, v6}
		} else {
			ports[n.Host] = []uint16{proxy.VIPPort} // a service's, too
		}
		for _, c := range n.Calls {
			ports[n.Host] = append(ports[n.Host], c.Port)
		}
		slices.Sort(ports[n.Host])
		ports[n.Host] = slices.Compact(ports[n.Host])
	}
	var names []proxy.Name
	for _, n := range slices.Sorted(maps.Keys(addresses)) {
		names = append(names, proxy.Name{Name: n, Addresses: addresses[n], Ports: ports[n]})
	}
	return names
}
