package snapshot

import (
	"net/netip"
	"slices"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// A host is a DNS name that dataplanes of a mesh use as address.
type host struct {
	addr  netip.Addr // zero: not known
	users []string   // dataplanes, sorted
}

// hostNames returns the DNS names among the addresses of a dataplane.
func hostNames(r *mesh.Resource) (names []string) {
	if r == nil {
		return nil
	}
	net := r.Spec.(*mesh.Dataplane).Networking
	for _, a := range []string{net.Address, net.AdvertisedAddress} {
		if _, err := netip.ParseAddr(a); err != nil && a != "" && !slices.Contains(names, a) {
			names = append(names, a)
		}
	}
	return names
}

// moved returns the dataplanes that are somewhere else with these hosts.
func (m *Mesh) moved(hosts map[string]netip.Addr) (dataplanes []string) {
	for _, h := range m.hosts {
		if hosts[h.name].Unmap() != h.value.addr {
			dataplanes = append(dataplanes, h.value.users...)
		}
	}
	slices.Sort(dataplanes)
	return slices.Compact(dataplanes)
}

// withHosts returns the index of DNS names after e.
func (m *Mesh) withHosts(e *edit, hosts map[string]netip.Addr) table[*host] {
	edits := map[string]*host{}
	at := func(name string) *host {
		h := edits[name]
		if h == nil {
			h = &host{addr: hosts[name].Unmap()}
			if old := m.hosts.get(name); old != nil {
				h.users = slices.Clone(old.users)
			}
			edits[name] = h
		}
		return h
	}
	for name, now := range e.dataplanes {
		for _, h := range hostNames(m.dataplanes.get(name)) {
			if i, ok := slices.BinarySearch(at(h).users, name); ok {
				at(h).users = slices.Delete(at(h).users, i, i+1)
			}
		}
		for _, h := range hostNames(now) {
			i, _ := slices.BinarySearch(at(h).users, name)
			at(h).users = slices.Insert(at(h).users, i, name)
		}
	}
	if len(e.moved) > 0 {
		for _, h := range m.hosts {
			at(h.name)
		}
	}
	for name, h := range edits {
		if len(h.users) == 0 {
			edits[name] = nil
		}
	}
	return m.hosts.with(edits)
}
