//go:build linux

package ebpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
)

// pinned are the maps of a place by name. All but the programs' own notes are
// looked at.
type pinned map[string]*ebpf.Map

func (p pinned) close() {
	for _, m := range p {
		_ = m.Close()
	}
}

// openMaps opens all pinned maps of a folder; ok tells that they are those that
// the programs of this build work with.
func openMaps(dir string) (p pinned, ok bool, err error) {
	spec, err := loadProgram()
	if err != nil {
		return nil, false, err
	}
	p = make(pinned)
	for name, s := range spec.Maps {
		if strings.HasPrefix(name, ".") {
			continue
		}
		m, err := ebpf.LoadPinnedMap(filepath.Join(mapsIn(dir), name), nil)
		if errors.Is(err, os.ErrPermission) {
			p.close()
			return nil, false, explain(err)
		}
		ok := err == nil && s.Compatible(m) == nil
		if err == nil {
			p[name] = m
		}
		if !ok { // somebody took it away, or it is another version's
			p.close()
			return nil, false, nil
		}
	}
	return p, true, nil
}

// version tells which programs and layout a place has.
func (p pinned) version() (v programVersion, err error) {
	return v, p["about"].Lookup(uint32(0), &v)
}

func (p pinned) setVersion() error {
	return p["about"].Put(uint32(0), programVersion{Layout: layout, Programs: programsVersion()})
}

// config is what is in force; false for nothing.
func (p pinned) config() (c programConfig, ok bool, err error) {
	var id uint32
	if err := p["current"].Lookup(uint32(0), &id); err != nil {
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return c, false, nil
		}
		return c, false, fmt.Errorf("read map current: %w", err)
	}
	inner, err := ebpf.NewMapFromID(ebpf.MapID(id))
	if errors.Is(err, os.ErrNotExist) {
		return c, false, nil // just replaced
	}
	if err != nil {
		return c, false, fmt.Errorf("read map current: %w", explain(err))
	}
	defer inner.Close()
	if err := inner.Lookup(uint32(0), &c); err != nil {
		return c, false, fmt.Errorf("read map current: %w", err)
	}
	return c, true, nil
}

// swap puts a config in force. When it returns no program sees the one before.
func (p pinned) swap(c programConfig) error {
	inner, err := ebpf.NewMap(&ebpf.MapSpec{Name: "config", Type: ebpf.Array, KeySize: 4, ValueSize: uint32(binary.Size(c)), MaxEntries: 1})
	if err != nil {
		return fmt.Errorf("make a config: %w", explain(err))
	}
	defer inner.Close()
	if err := inner.Put(uint32(0), &c); err != nil {
		return fmt.Errorf("write a config: %w", err)
	}
	if err := p["current"].Put(uint32(0), inner); err != nil {
		return fmt.Errorf("put a config in force: %w", explain(err))
	}
	return nil
}

// entries are what the maps hold of many entries.
type entries struct {
	networks   map[programNetworkKey]bool
	owners     map[programOwnerKey]uint32
	interfaces map[programInterfaceKey]bool
}

func (p pinned) entries() (e entries, err error) {
	e = entries{make(map[programNetworkKey]bool), make(map[programOwnerKey]uint32), make(map[programInterfaceKey]bool)}
	var (
		net   programNetworkKey
		own   programOwnerKey
		iface programInterfaceKey
		value uint32
	)
	for it := p["networks"].Iterate(); ; {
		if !it.Next(&net, &value) {
			if err := it.Err(); err != nil {
				return e, fmt.Errorf("read map networks: %w", err)
			}
			break
		}
		e.networks[net] = true
	}
	for it := p["owners"].Iterate(); ; {
		if !it.Next(&own, &value) {
			if err := it.Err(); err != nil {
				return e, fmt.Errorf("read map owners: %w", err)
			}
			break
		}
		e.owners[own] = value
	}
	for it := p["interfaces"].Iterate(); ; {
		if !it.Next(&iface, &value) {
			if err := it.Err(); err != nil {
				return e, fmt.Errorf("read map interfaces: %w", err)
			}
			break
		}
		e.interfaces[iface] = true
	}
	return e, nil
}

// entriesOf are a wish's entries for a generation.
func (w wish) entries(generation uint32) entries {
	e := entries{make(map[programNetworkKey]bool), make(map[programOwnerKey]uint32), make(map[programInterfaceKey]bool)}
	for n := range w.networks {
		e.networks[n.key(generation)] = true
	}
	for n := range w.locals {
		e.networks[n.key(0)] = true
	}
	for o, roles := range w.owners {
		e.owners[programOwnerKey{Generation: generation, By: o.by, Id: o.id}] = roles
	}
	for index := range w.interfaces {
		e.interfaces[programInterfaceKey{Generation: generation, Index: index}] = true
	}
	return e
}

// add writes entries that are not there, and remove deletes those that nobody
// wants.
func (p pinned) add(want, have entries) error {
	for k := range want.networks {
		if !have.networks[k] {
			if err := p["networks"].Put(k, uint32(1)); err != nil {
				return fmt.Errorf("write map networks: %w", err)
			}
		}
	}
	for k, roles := range want.owners {
		if had, ok := have.owners[k]; !ok || had != roles {
			if err := p["owners"].Put(k, roles); err != nil {
				return fmt.Errorf("write map owners: %w", err)
			}
		}
	}
	for k := range want.interfaces {
		if !have.interfaces[k] {
			if err := p["interfaces"].Put(k, uint32(1)); err != nil {
				return fmt.Errorf("write map interfaces: %w", err)
			}
		}
	}
	return nil
}

func (p pinned) remove(want, have entries) error {
	gone := func(m string, err error) error {
		if err == nil || errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil
		}
		return fmt.Errorf("clear map %s: %w", m, err)
	}
	var errs []error
	for k := range have.networks {
		if !want.networks[k] {
			errs = append(errs, gone("networks", p["networks"].Delete(k)))
		}
	}
	for k := range have.owners {
		if _, ok := want.owners[k]; !ok {
			errs = append(errs, gone("owners", p["owners"].Delete(k)))
		}
	}
	for k := range have.interfaces {
		if !want.interfaces[k] {
			errs = append(errs, gone("interfaces", p["interfaces"].Delete(k)))
		}
	}
	return errors.Join(errs...)
}

// networkBits is the part of a key before its address, in bits.
const networkBits = 64

// words of an address lie in memory as the network has them.
func words(a netip.Addr) (out programAddress) {
	b := a.As16()
	for i := range out.W {
		out.W[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return out
}

func bytesOf(a programAddress) (b [16]byte) {
	for i, w := range a.W {
		binary.NativeEndian.PutUint32(b[4*i:], w)
	}
	return b
}

// inIPv6 is beside the kind of an IPv6 network, see bpf/maps.h.
const inIPv6 = 0x100

func (n network) key(generation uint32) programNetworkKey {
	k := programNetworkKey{Length: networkBits + uint32(n.prefix.Bits()), Generation: generation, Kind: uint32(n.kind), Address: words(n.prefix.Addr())}
	if n.prefix.Addr().Is4() {
		k.Length += 96
	} else {
		k.Kind |= inIPv6
	}
	return k
}

func networkOf(k programNetworkKey) network {
	a, bits := netip.AddrFrom16(bytesOf(k.Address)), int(k.Length)-networkBits
	if k.Kind&inIPv6 == 0 {
		a, bits = a.Unmap(), bits-96
	}
	return network{netKind(k.Kind &^ inIPv6), netip.PrefixFrom(a, bits)}
}
