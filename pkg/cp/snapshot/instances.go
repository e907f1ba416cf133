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
// every distinct set that some dataplane's networking.outbound names besides
// the bare service, in a fixed order. The caller must not change it.
func (i *Instances) Subsets() []mesh.Tags {
	if i == nil {
		return nil
	}
	return i.subsets
}

// Changed returns the services whose Instances differ between two moments of
// a mesh, sorted; either may be nil. Those that are gone are among them.
func Changed(prev, next *Mesh) (services []string) {
	var a, b table[*entry]
	if prev != nil {
		a = prev.entries
	}
	if next != nil {
		b = next.entries
	}
	if len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) {
		return nil
	}
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].name < b[0].name:
			services, a = append(services, a[0].name), a[1:]
		case len(a) == 0 || b[0].name < a[0].name:
			services, b = append(services, b[0].name), b[1:]
		default:
			if a[0].value.instances != b[0].value.instances {
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
	asks      map[string]ask // by text of the tags
	instances *Instances
}

// An ask is a set of tags by which outbounds want a service.
type ask struct {
	tags  mesh.Tags
	users int
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
	next := &entry{maps.Clone(e.speakers), maps.Clone(e.asks), e.instances}
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
	if len(next.speakers) == 0 && len(next.asks) == 0 {
		return nil
	}
	subsets := next.subsets()
	if len(members) > 0 || !slices.EqualFunc(subsets, e.instances.subsets, maps.Equal[mesh.Tags, mesh.Tags]) {
		next.instances = &Instances{service, e.instances.members.with(members), subsets}
	}
	return next
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
	for _, tags := range s.asks {
		k := tags.String()
		put(&e.asks, k, ask{tags, e.asks[k].users + n})
		if e.asks[k].users == 0 {
			delete(e.asks, k)
		}
	}
}

func (e *entry) subsets() (tags []mesh.Tags) {
	for _, k := range slices.Sorted(maps.Keys(e.asks)) {
		if len(e.asks[k].tags) > 1 {
			tags = append(tags, e.asks[k].tags)
		}
	}
	return tags
}
