package snapshot

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// A Mesh is one mesh at one moment. It never changes.
type Mesh struct {
	name       string
	spec       *mesh.MeshSpec // nil: the Mesh resource is not there
	dataplanes table[*mesh.Resource]
	policies   map[*mesh.Kind]*PolicySet
	entries    table[*entry] // by service
	externals  table[*External]
	services   *ServiceSet
	directory  *Directory   // nil: no names but those of services
	wishes     *wishes      // nil: policies lead to no part of a service
	hosts      table[*host] // by DNS name
	secrets    table[mesh.Version]
	files      map[string]string // hashes of content, by path
	zones      map[string]int    // how many dataplanes are in each
	carried    table[*carried]   // by service, "" where tags name none
}

// A PolicySet is the policies of one kind in one mesh. It never changes.
type PolicySet struct{ rows table[*mesh.Resource] }

// All returns the policies, sorted by name.
func (p *PolicySet) All() []*mesh.Resource {
	return p.table().values()
}

func (p *PolicySet) table() table[*mesh.Resource] {
	if p == nil {
		return nil
	}
	return p.rows
}

// Name returns the mesh's name.
func (m *Mesh) Name() string { return m.name }

// Spec returns what holds for the whole mesh.
func (m *Mesh) Spec() *mesh.MeshSpec { return m.spec }

// Dataplane returns one dataplane, or nil. Its Spec is a *mesh.Dataplane.
func (m *Mesh) Dataplane(name string) *mesh.Resource { return m.dataplanes.get(name) }

// Dataplanes returns all dataplanes, sorted by name.
func (m *Mesh) Dataplanes() []*mesh.Resource { return m.dataplanes.values() }

// Policies returns the policies of one kind, nil where there is none. Its
// pointer is another one only when a policy of that kind changed.
func (m *Mesh) Policies(kind *mesh.Kind) *PolicySet { return m.policies[kind] }

// Services returns what can be called in the mesh. Its pointer is another one
// only when a name or a protocol is, or what is outside.
func (m *Mesh) Services() *ServiceSet { return m.services }

// Directory returns the names beside those of services, nil where there are
// none. Its pointer is another one only when its content is.
func (m *Mesh) Directory() *Directory { return m.directory }

// Instances returns where a service is found, or nil where no dataplane offers
// it and none asks for it. Its pointer is another one only when its content is.
func (m *Mesh) Instances(service string) *Instances {
	if e := m.entries.get(service); e != nil {
		return e.instances
	}
	return nil
}

// Host returns the IP address that a dataplane's address stands for: itself,
// or for a DNS name what Input.Hosts said. It is the zero Addr where that is
// not known.
func (m *Mesh) Host(address string) netip.Addr {
	if ip, err := netip.ParseAddr(address); err == nil {
		return ip.Unmap()
	}
	if h := m.hosts.get(address); h != nil {
		return h.addr
	}
	return netip.Addr{}
}

// Secret returns at which version a Secret is that policies may name, 0 where
// there is none of that name.
func (m *Mesh) Secret(name string) mesh.Version { return m.secrets.get(name) }

// File returns a hash of what is in a file that resources name, "" where it
// cannot be read.
func (m *Mesh) File(path string) string { return m.files[path] }

// Localities returns the zones that see endpoints in an order of their own,
// sorted; none where the mesh does not ask for that.
func (m *Mesh) Localities() []string {
	if m == nil || m.spec == nil || !m.spec.LocalityAware() {
		return nil
	}
	return slices.Sorted(maps.Keys(m.zones))
}

// withZones returns how many dataplanes are in each zone after e.
func (m *Mesh) withZones(e *edit) map[string]int {
	if len(e.dataplanes) == 0 {
		return m.zones
	}
	zones := maps.Clone(m.zones)
	add := func(r *mesh.Resource, n int) {
		if r == nil {
			return
		}
		if z := r.Spec.(*mesh.Dataplane).Zone(); z != "" {
			put(&zones, z, zones[z]+n)
			if zones[z] == 0 {
				delete(zones, z)
			}
		}
	}
	for name, now := range e.dataplanes {
		add(m.dataplanes.get(name), -1)
		add(now, +1)
	}
	return zones
}

func (m *Mesh) empty() bool {
	return m.spec == nil && len(m.dataplanes) == 0 && len(m.policies) == 0 && len(m.secrets) == 0
}

// with returns the mesh after e.
func (m *Mesh) with(e *edit, hosts map[string]netip.Addr, files map[string]string) *Mesh {
	next := *m
	next.secrets, next.files = m.secrets.with(e.secrets), files
	if e.setSpec {
		next.spec = e.spec
	}
	if len(e.policies) > 0 {
		next.policies = withPolicies(m.policies, e.policies)
	}
	m.withSharedTags(e.dataplanes)
	next.dataplanes = m.dataplanes.with(e.dataplanes)
	next.zones, next.carried = m.withZones(e), m.withCarried(e)
	next.hosts = m.withHosts(e, hosts)

	touched := slices.Collect(maps.Keys(e.dataplanes))
	for _, name := range e.moved {
		if _, ok := e.dataplanes[name]; !ok {
			touched = append(touched, name)
		}
	}
	edits := map[string][]shareEdit{}
	for _, name := range touched {
		old, now := m.shares(name), next.shares(name)
		for service, s := range old {
			if t := now[service]; !s.equal(t) {
				edits[service] = append(edits[service], shareEdit{name, s, t})
			}
		}
		for service, t := range now {
			if old[service] == nil {
				edits[service] = append(edits[service], shareEdit{name, nil, t})
			}
		}
	}
	next.withShares(edits, e)
	return &next
}

func withPolicies(old map[*mesh.Kind]*PolicySet, edits map[*mesh.Kind]map[string]*mesh.Resource) map[*mesh.Kind]*PolicySet {
	next := maps.Clone(old)
	for kind, edit := range edits {
		var rows table[*mesh.Resource]
		if p := old[kind]; p != nil {
			rows = p.rows
		}
		if rows = rows.with(edit); len(rows) == 0 {
			delete(next, kind)
		} else {
			put(&next, kind, &PolicySet{rows})
		}
	}
	return next
}

// withShares brings the indexes by service up to date.
func (m *Mesh) withShares(edits map[string][]shareEdit, e *edit) {
	entries := make(map[string]*entry, len(edits))
	newNames, newOffers := false, false
	newWishes := len(e.policies[mesh.TrafficRouteKind]) > 0
	for service, es := range edits {
		old := m.entries.get(service)
		now := old.with(service, es)
		entries[service] = now
		newNames = newNames || old.protocol() != now.protocol()
		newOffers = newOffers || !old.sameOffers(now)
	}
	m.entries = m.entries.with(entries)
	newOutside := len(e.policies[mesh.ExternalServiceKind]) > 0
	if newOutside {
		m.externals = m.withExternals(m.externals)
	}
	if newNames || newOutside {
		m.services = newServiceSet(m.name, m.entries, m.externals)
	}
	if newNames || newOffers || newOutside || len(e.policies[mesh.VirtualOutboundKind]) > 0 {
		if d := newDirectory(m); !d.equal(m.directory) {
			m.directory = d
			newWishes = true
		}
	}
	m.withWishes(edits, newWishes)
}
