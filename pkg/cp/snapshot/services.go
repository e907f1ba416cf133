package snapshot

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"strconv"
)

// A Service is a name that can be called in a mesh.
type Service struct {
	Name string
	// Protocol is what all of its inbounds speak, ready or not, or all that is
	// outside: see common.
	Protocol string
	// Slot is the service's place in the ranges of virtual addresses: above 0,
	// below MaxSlot, no two services of a mesh in the same.
	Slot uint32
	// Offered tells whether some inbound offers it. Then what is outside under
	// its name is not called.
	Offered  bool
	External *External // nil: nothing is outside under its name
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

// newServiceSet lists the services that some inbound offers, or that are
// outside.
//
// A slot is a hash of mesh and service, so it needs no memory and is the same
// on every control plane. Where two services meet (once in 500 meshes of 1,000
// services), the one that sorts first stays and the other one is hashed again.
func newServiceSet(mesh string, entries table[*entry], externals table[*External]) *ServiceSet {
	s := &ServiceSet{rows: make(table[Service], 0, len(entries)+len(externals))}
	taken := make(map[uint32]bool, len(entries)+len(externals))
	for len(entries) > 0 || len(externals) > 0 {
		var sv Service
		inside := len(externals) == 0 || len(entries) > 0 && entries[0].name <= externals[0].name
		outside := len(entries) == 0 || len(externals) > 0 && externals[0].name <= entries[0].name
		if inside {
			sv.Name, sv.Protocol = entries[0].name, entries[0].value.protocol()
			sv.Offered = sv.Protocol != ""
			entries = entries[1:]
		}
		if outside {
			sv.Name, sv.External = externals[0].name, externals[0].value
			sv.Protocol = cmp.Or(sv.Protocol, sv.External.protocol())
			externals = externals[1:]
		}
		if sv.Protocol != "" {
			sv.Slot = freeSlot(mesh, sv.Name, taken)
			s.rows = append(s.rows, row[Service]{sv.Name, sv})
		}
	}
	return s
}

// freeSlot finds a slot for a name and takes it.
func freeSlot(mesh, name string, taken map[uint32]bool) uint32 {
	slot := slotOf(mesh, name, 0)
	for try := 1; slot == 0 || slot == MaxSlot || taken[slot]; try++ {
		slot = slotOf(mesh, name, try)
	}
	taken[slot] = true
	return slot
}

func slotOf(mesh, service string, try int) uint32 {
	sum := sha256.Sum256([]byte(mesh + "\x00" + service + "\x00" + strconv.Itoa(try)))
	return binary.BigEndian.Uint32(sum[:]) & MaxSlot
}
