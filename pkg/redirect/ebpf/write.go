//go:build linux

package ebpf

import (
	"errors"
	"time"
)

// write makes the maps what they should be. The rules change over in one step,
// with the proxy's listeners in place before and after it.
func (s *scene) write(have held) error {
	m := have.maps
	if err := m.adopt(s.listeners); err != nil {
		return err
	}
	generation := have.config.Generation
	same := have.inForce && s.same(have)
	if !same {
		generation = have.next()
	}
	want := s.wish.entries(generation)
	if err := m.add(want, have.entries); err != nil {
		return errors.Join(err, m.remove(have.entries, want))
	}
	if err := s.arm(m, !same); err != nil {
		return err
	}
	if !same {
		c := s.wish.config
		c.Generation = generation
		if err := m.swap(c); err != nil {
			return errors.Join(err, m.remove(have.entries, want))
		}
		now, err := proxyListeners(s.wish.rules) // some came while nobody looked
		if err != nil {
			return err
		}
		if err := m.adopt(now); err != nil {
			return err
		}
	}
	return m.remove(want, have.entries)
}

// same tells whether rules in force are the wanted ones, this host's addresses
// aside.
func (s *scene) same(have held) bool {
	c := s.wish.config
	c.Generation = have.config.Generation
	if c != have.config {
		return false
	}
	want := s.wish.entries(c.Generation)
	for k := range have.entries.networks {
		if k.Generation == c.Generation && !want.networks[k] {
			return false
		}
	}
	for k := range have.entries.owners {
		if _, ok := want.owners[k]; k.Generation == c.Generation && !ok {
			return false
		}
	}
	for k := range have.entries.interfaces {
		if k.Generation == c.Generation && !want.interfaces[k] {
			return false
		}
	}
	for k := range want.networks {
		if k.Generation != 0 && !have.entries.networks[k] {
			return false
		}
	}
	for k, roles := range want.owners {
		if have.entries.owners[k] != roles {
			return false
		}
	}
	for k := range want.interfaces {
		if !have.entries.interfaces[k] {
			return false
		}
	}
	return true
}

// next is a generation of which nothing is in the maps. 0 is nobody's.
func (h *held) next() uint32 {
	used := map[uint32]bool{0: true, h.config.Generation: true}
	for k := range h.entries.networks {
		used[k.Generation] = true
	}
	for k := range h.entries.owners {
		used[k.Generation] = true
	}
	for k := range h.entries.interfaces {
		used[k.Generation] = true
	}
	n := h.config.Generation
	for used[n] {
		n++
	}
	return n
}

// arm gives leases their time: that of a trial always, the other one where
// rules are put in force with it.
func (s *scene) arm(m pinned, anew bool) error {
	for _, l := range []struct {
		which  uint32
		length time.Duration
		arm    bool
	}{
		{lease, s.wish.rules.FailOpen, anew},
		{trial, s.wish.rules.ConfirmWithin, true},
	} {
		if l.length != 0 && l.arm {
			if err := m.setLease(l.which, l.length); err != nil {
				return err
			}
		}
	}
	return nil
}
