package snapshot

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/cp/policy"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// A Directory is every name that can be called beside "<service>.mesh": host
// names of what is outside, and those that VirtualOutbounds make. It never
// changes.
type Directory struct {
	names  []Named
	faults []Fault
}

// A Named is one name, and what is called there.
type Named struct {
	Host string // in lower case, without a dot at the end
	// Slot is the name's place in the ranges of virtual addresses. A name that
	// is a service's too has the service's.
	Slot uint32
	// Calls are sorted by port.
	Calls []Call
}

// A Call is what is behind one port of a name.
type Call struct {
	Port uint16
	Tags mesh.Tags
	From *mesh.Resource // the ExternalService or VirtualOutbound that says so
}

// A Fault is why a name that somebody asked for is not there.
type Fault struct {
	From *mesh.Resource
	Tags mesh.Tags // of what would be called by it
	Why  string
}

// All returns the names, sorted. The caller must not change the list.
func (d *Directory) All() []Named {
	if d == nil {
		return nil
	}
	return d.names
}

// Faults returns what could not be named as it was asked, in a fixed order. The
// caller must not change the list.
func (d *Directory) Faults() []Fault {
	if d == nil {
		return nil
	}
	return d.faults
}

func (d *Directory) equal(o *Directory) bool {
	return slices.EqualFunc(d.All(), o.All(), func(a, b Named) bool {
		return a.Host == b.Host && a.Slot == b.Slot && slices.EqualFunc(a.Calls, b.Calls, func(a, b Call) bool {
			return a.Port == b.Port && a.From == b.From && maps.Equal(a.Tags, b.Tags)
		})
	}) && slices.EqualFunc(d.Faults(), o.Faults(), func(a, b Fault) bool {
		return a.From == b.From && a.Why == b.Why && maps.Equal(a.Tags, b.Tags)
	})
}

// serviceDomain ends the names of services.
const serviceDomain = ".mesh"

// servicePort is the port at which every name is called, whatever its own.
const servicePort = 80

// newDirectory lists the names of m: first what the hosts outside are called,
// then what VirtualOutbounds make, those that fit closer first. Who comes first
// has a port of a name.
func newDirectory(m *Mesh) *Directory {
	external := m.Policies(mesh.ExternalServiceKind).All()
	virtual := m.Policies(mesh.VirtualOutboundKind).All()
	if len(external) == 0 && len(virtual) == 0 {
		return nil
	}
	b := directoryBuilder{mesh: m, services: servicesByHost(m.services), names: map[string]*Named{}}
	for _, port := range []func(*mesh.ExternalService) uint32{
		(*mesh.ExternalService).Port,
		func(*mesh.ExternalService) uint32 { return servicePort },
	} {
		for _, r := range external {
			s := r.Spec.(*mesh.ExternalService)
			sv, _ := m.services.Get(s.Tags.Service())
			if host := s.HostName(); host != "" && !sv.Offered {
				b.add(host, Call{uint16(port(s)), mesh.Tags{mesh.ServiceTag: sv.Name}, r})
			}
		}
	}
	b.virtual(virtual)
	return b.finish()
}

type directoryBuilder struct {
	mesh     *Mesh
	services map[string]Service // by their names' host
	names    map[string]*Named
	faults   []Fault
}

// servicesByHost maps what services are called to them: see plan.Names.
func servicesByHost(set *ServiceSet) map[string]Service {
	hosts := map[string]Service{}
	for _, name := range []func(string) string{
		strings.ToLower,
		func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", ".")) },
	} {
		for s := range set.All() {
			host := name(s.Name) + serviceDomain
			if _, taken := hosts[host]; !taken {
				hosts[host] = s
			}
		}
	}
	return hosts
}

// add lists a call, unless its port is another's already. The second name of
// one host outside, on the common port, is nobody's fault.
func (b *directoryBuilder) add(host string, c Call) {
	fault := func(text string, args ...any) {
		b.faults = append(b.faults, Fault{c.From, c.Tags, fmt.Sprintf(text, args...)})
	}
	if s, is := b.services[host]; is && c.Port == servicePort {
		if c.From.Kind == mesh.VirtualOutboundKind && !maps.Equal(c.Tags, mesh.Tags{mesh.ServiceTag: s.Name}) {
			fault("%s:%d is service %s itself; give it another host or port", host, c.Port, s.Name)
		}
		return
	}
	n := b.names[host]
	if n == nil {
		n = &Named{Host: host, Slot: b.services[host].Slot}
		b.names[host] = n
	}
	i, taken := slices.BinarySearchFunc(n.Calls, c.Port, func(o Call, port uint16) int { return cmp.Compare(o.Port, port) })
	switch {
	case !taken:
		n.Calls = slices.Insert(n.Calls, i, c)
	case maps.Equal(n.Calls[i].Tags, c.Tags):
	case c.From.Kind == mesh.VirtualOutboundKind || c.Port != servicePort:
		o := n.Calls[i]
		fault("%s:%d is %s already, by %s %q; give one of them another host or port", host, c.Port, o.Tags, o.From.Kind.Name, o.From.Meta.Name)
	}
}

// virtual adds what VirtualOutbounds make of the tags of all inbounds and of
// what is outside.
func (b *directoryBuilder) virtual(policies []*mesh.Resource) {
	if len(policies) == 0 {
		return
	}
	type made struct {
		policy.Match
		mesh.VirtualEntry
		text string // of the tags
	}
	var all []made
	namers := make(map[*mesh.Resource]*mesh.Namer, len(policies))
	for _, p := range policies {
		namers[p] = p.Spec.(*mesh.VirtualOutbound).Namer()
	}
	for _, tags := range b.mesh.offers() {
		for _, m := range policy.VirtualOutbounds(policies, tags) {
			entry, err := namers[m.Policy].Entry(tags)
			if err != nil {
				b.faults = append(b.faults, Fault{m.Policy, tags, err.Error()})
				continue
			}
			all = append(all, made{m, entry, entry.Tags.String()})
		}
	}
	slices.SortStableFunc(all, func(a, b made) int {
		if c := a.Compare(b.Match); c != 0 {
			return c
		}
		return strings.Compare(a.text, b.text)
	})
	for _, e := range all {
		b.add(e.Host, Call{e.Port, e.Tags, e.Policy})
	}
}

// offers are the different tags of what can be called, sorted.
func (m *Mesh) offers() (all []mesh.Tags) {
	for _, row := range m.entries {
		for _, k := range slices.Sorted(maps.Keys(row.value.offers)) {
			all = append(all, row.value.offers[k].tags)
		}
	}
	for _, row := range m.externals {
		if s, _ := m.services.Get(row.name); s.Offered {
			continue
		}
		for _, r := range row.value.All() {
			all = append(all, r.Spec.(*mesh.ExternalService).Tags)
		}
	}
	return all
}

// finish gives the names slots that no service and no name before them has.
func (b *directoryBuilder) finish() *Directory {
	taken := map[uint32]bool{}
	for s := range b.mesh.services.All() {
		taken[s.Slot] = true
	}
	d := &Directory{faults: b.faults}
	for _, host := range slices.Sorted(maps.Keys(b.names)) {
		n := b.names[host]
		if n.Slot == 0 {
			n.Slot = freeSlot(b.mesh.name, host+".", taken) // no service ends in a dot
		}
		d.names = append(d.names, *n)
	}
	return d
}

// subsets are the tags, more than the service's, that are called by name.
func (d *Directory) subsets() map[string][]mesh.Tags {
	wishes := map[string][]mesh.Tags{}
	for _, n := range d.All() {
		for _, c := range n.Calls {
			if s := c.Tags.Service(); len(c.Tags) > 1 {
				wishes[s] = append(wishes[s], c.Tags)
			}
		}
	}
	return wishes
}
