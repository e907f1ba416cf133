package snapshot

import (
	"iter"
	"maps"
	"net/netip"
	"slices"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// An Instance is one ready inbound of a service, as others find it.
type Instance struct {
	Dataplane string
	Host      string         // as its author wrote it: an IP address or a DNS name
	Address   netip.AddrPort // without a valid address while Host is not known
	Tags      mesh.Tags      // all tags of the inbound
}

func (i Instance) equal(j Instance) bool {
	return i.Dataplane == j.Dataplane && i.Host == j.Host && i.Address == j.Address && maps.Equal(i.Tags, j.Tags)
}

// Instances are where one service is found. They never change.
type Instances struct {
	service string
	members table[*share] // by dataplane
	subsets []mesh.Tags
}

// Service returns the service's name.
func (i *Instances) Service() string { return i.service }

// All yields the instances by dataplane, and within one in its author's order.
func (i *Instances) All() iter.Seq[Instance] {
	return func(yield func(Instance) bool) {
		if i == nil {
			return
		}
		for _, r := range i.members {
			for _, in := range r.value.members {
				if !yield(in) {
					return
				}
			}
		}
	}
}

// Subsets returns the tags of which outbounds want more than the service:
// every distinct set that some dataplane's networking.outbound or some policy
// names besides the bare service, in a fixed order. The caller must not change it.
func (i *Instances) Subsets() []mesh.Tags {
	if i == nil {
		return nil
	}
	return i.subsets
}

// Changed returns the services whose Instances differ between two moments of
// a mesh, sorted; either may be nil. Those that are gone are among them, and
// where zones came or went that see endpoints in an order of their own, all are.
func Changed(prev, next *Mesh) (services []string) {
	var a, b table[*entry]
	if prev != nil {
		a = prev.entries
	}
	if next != nil {
		b = next.entries
	}
	all := !slices.Equal(prev.Localities(), next.Localities())
	if !all && len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) {
		return nil
	}
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].name < b[0].name:
			services, a = append(services, a[0].name), a[1:]
		case len(a) == 0 || b[0].name < a[0].name:
			services, b = append(services, b[0].name), b[1:]
		default:
			if all || a[0].value.instances != b[0].value.instances {
				services = append(services, a[0].name)
			}
			a, b = a[1:], b[1:]
		}
	}
	return services
}

// An entry is what a mesh knows of one service. It never changes.
type entry struct {
	speakers  map[string]int // protocol: how many inbounds speak it
	offers    map[string]use // tags of its inbounds, by text
	asks      map[string]use // tags that outbounds ask for, by text
	wishes    []mesh.Tags    // and those that policies ask for: see Mesh.wishes
	instances *Instances
}

// A use is a set of tags and how many there are of it.
type use struct {
	tags mesh.Tags
	n    int
}

// count adds n to the uses of tags.
func count(m *map[string]use, tags mesh.Tags, n int) {
	k := tags.String()
	put(m, k, use{tags, (*m)[k].n + n})
	if (*m)[k].n == 0 {
		delete(*m, k)
	}
}

// protocol returns what all inbounds of the service speak, "" where it has none.
func (e *entry) protocol() string {
	if e == nil {
		return ""
	}
	return common(e.speakers)
}

// with returns the entry after edits, nil where nothing is left of it.
func (e *entry) with(service string, edits []shareEdit) *entry {
	if e == nil {
		e = &entry{instances: &Instances{service: service}}
	}
	next := &entry{maps.Clone(e.speakers), maps.Clone(e.offers), maps.Clone(e.asks), e.wishes, e.instances}
	members := map[string]*share{}
	for _, edit := range edits {
		next.add(edit.old, -1)
		next.add(edit.now, +1)
		if edit.old.sameMembers(edit.now) {
			continue
		}
		members[edit.dataplane] = nil
		if len(edit.now.list()) > 0 {
			members[edit.dataplane] = edit.now
		}
	}
	return next.indexed(service, members)
}

// wished is what policies ask of the service.
func (e *entry) wished() []mesh.Tags {
	if e == nil {
		return nil
	}
	return e.wishes
}

// wishing returns the entry of a service of which policies ask for these tags,
// nil where nothing is left of it.
func (e *entry) wishing(service string, wishes []mesh.Tags) *entry {
	next := &entry{instances: &Instances{service: service}}
	if e != nil {
		*next = *e
	}
	next.wishes = wishes
	return next.indexed(service, nil)
}

// indexed finishes an entry of which members changed.
func (e *entry) indexed(service string, members map[string]*share) *entry {
	if len(e.speakers) == 0 && len(e.asks) == 0 && len(e.wishes) == 0 {
		return nil
	}
	if subsets := e.subsets(); len(members) > 0 || !slices.EqualFunc(subsets, e.instances.subsets, maps.Equal[mesh.Tags, mesh.Tags]) {
		e.instances = &Instances{service, e.instances.members.with(members), subsets}
	}
	return e
}

// add counts what a share speaks and asks for, n times.
func (e *entry) add(s *share, n int) {
	if s == nil {
		return
	}
	for _, p := range s.speaks {
		put(&e.speakers, p, e.speakers[p]+n)
		if e.speakers[p] == 0 {
			delete(e.speakers, p)
		}
	}
	for _, tags := range s.offers {
		count(&e.offers, tags, n)
	}
	for _, tags := range s.asks {
		count(&e.asks, tags, n)
	}
}

// sameOffers tells whether the service's inbounds carry the same tags.
func (e *entry) sameOffers(o *entry) bool {
	if e == nil || o == nil {
		return e == o
	}
	if len(e.offers) != len(o.offers) {
		return false
	}
	for k := range e.offers {
		if _, ok := o.offers[k]; !ok {
			return false
		}
	}
	return true
}

func (e *entry) subsets() (tags []mesh.Tags) {
	all := map[string]mesh.Tags{}
	for k, use := range e.asks {
		all[k] = use.tags
	}
	for _, tags := range e.wishes {
		all[tags.String()] = tags
	}
	for _, k := range slices.Sorted(maps.Keys(all)) {
		if len(all[k]) > 1 {
			tags = append(tags, all[k])
		}
	}
	return tags
}
