package snapshot

import (
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"strconv"
)

// A Service is a name that can be called in a mesh.
type Service struct {
	Name string
	// Protocol is what all of its inbounds speak, ready or not: see common.
	Protocol string
	// Slot is the service's place in the ranges of virtual addresses: above 0,
	// below MaxSlot, no two services of a mesh in the same.
	Slot uint32
}

// MaxSlot is the last slot: there are as many as 240.0.0.0/4 has addresses. The
// first (a network's) and the last (the broadcast address) are given to nobody.
const MaxSlot = 1<<28 - 1

// A ServiceSet is what can be called in a mesh. It never changes.
type ServiceSet struct{ rows table[Service] }

// All yields the services, sorted by name.
func (s *ServiceSet) All() iter.Seq[Service] {
	return func(yield func(Service) bool) {
		for _, r := range s.rows {
			if !yield(r.value) {
				return
			}
		}
	}
}

// Get returns one service.
func (s *ServiceSet) Get(name string) (Service, bool) {
	sv := s.rows.get(name)
	return sv, sv.Name != ""
}

// newServiceSet lists the services that some inbound offers.
//
// A slot is a hash of mesh and service, so it needs no memory and is the same
// on every control plane. Where two services meet (once in 500 meshes of 1,000
// services), the one that sorts first stays and the other one is hashed again.
func newServiceSet(mesh string, entries table[*entry]) *ServiceSet {
	s := &ServiceSet{rows: make(table[Service], 0, len(entries))}
	taken := make(map[uint32]bool, len(entries))
	for _, r := range entries {
		protocol := r.value.protocol()
		if protocol == "" {
			continue
		}
		slot := slotOf(mesh, r.name, 0)
		for try := 1; slot == 0 || slot == MaxSlot || taken[slot]; try++ {
			slot = slotOf(mesh, r.name, try)
		}
		taken[slot] = true
		s.rows = append(s.rows, row[Service]{r.name, Service{r.name, protocol, slot}})
	}
	return s
}

func slotOf(mesh, service string, try int) uint32 {
	sum := sha256.Sum256([]byte(mesh + "\x00" + service + "\x00" + strconv.Itoa(try)))
	return binary.BigEndian.Uint32(sum[:]) & MaxSlot
}
