//go:build linux

package ebpf

import (
	"net/netip"
	"strings"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// These are the words of bpf/maps.h.
const (
	layout = 1

	hasLease        = 1 << 0
	hasTrial        = 1 << 1
	hasOnly         = 1 << 2
	hasUIDs         = 1 << 3
	hasGIDs         = 1 << 4
	hasCgroups      = 1 << 5
	hasVIPs         = 1 << 6
	hasDestinations = 1 << 7
	hasSources      = 1 << 8
	hasInterfaces   = 1 << 9
)

// A netKind says what a network is in the map networks.
type netKind uint32

const (
	vips         netKind = 0
	destinations netKind = 1
	sources      netKind = 2
	locals       netKind = 3
)

const (
	byUID    = 0
	byGID    = 1
	byCgroup = 2
)

const (
	isProxy    = 1 << 0
	isEnrolled = 1 << 1
	isExcluded = 1 << 2
	isResolver = 1 << 3
)

const (
	toProxy   = 1
	toInbound = 3
)

type network struct {
	kind   netKind
	prefix netip.Prefix
}

type owner struct {
	by uint32
	id uint64
}

// A wish is what the maps should hold: pure data, made from rules and from what
// they mean on this host.
type wish struct {
	rules      redirect.Rules
	config     programConfig // without its generation
	networks   map[network]bool
	owners     map[owner]uint32
	interfaces map[uint32]bool
	locals     map[network]bool
}

// facts is what rules' words mean on this host now.
type facts struct {
	netns      uint64
	inode      uint32
	cgroups    map[string]uint64 // of those that rules name and that are there
	interfaces map[string]uint32
	locals     []netip.Prefix
}

// build makes the wish of normal rules.
func build(r redirect.Rules, f facts) wish {
	w := wish{rules: r, networks: make(map[network]bool), owners: make(map[owner]uint32), interfaces: make(map[uint32]bool), locals: make(map[network]bool)}
	c := &w.config
	c.Netns, c.NetnsInode = f.netns, f.inode
	c.MarkMask, c.MarkOutbound, c.MarkInbound, c.MarkAgent = r.Marks.Mask, r.Marks.Outbound, r.Marks.Inbound, r.Marks.Agent
	c.InboundTo, c.OutboundTo, c.DnsTo = r.Inbound.To, r.Outbound.To, r.DNS.To
	setPorts(&c.InboundPorts, inboundPorts(r.Inbound))
	c.InboundPorts[r.DNS.To/64] &^= 1 << (r.DNS.To % 64) // with every port, the agent's own
	setPorts(&c.ExcludedPorts, r.Outbound.ExcludePorts)
	w.flag(r.FailOpen != 0, hasLease)
	w.flag(r.ConfirmWithin != 0, hasTrial)
	w.addNetworks(vips, hasVIPs, r.VIPs)
	w.addNetworks(destinations, hasDestinations, r.Outbound.ExcludeDestinations)
	w.addNetworks(sources, hasSources, r.Inbound.ExcludeSources)
	w.flag(!r.Outbound.Only.IsZero(), hasOnly)
	w.addOwners(isProxy, r.Proxy, f)
	w.addOwners(isEnrolled, r.Outbound.Only, f)
	w.addOwners(isExcluded, r.Outbound.Exclude, f)
	w.addOwners(isResolver, r.DNS.Exclude, f)
	for name, index := range f.interfaces {
		if matches(r.Inbound.ExcludeInterfaces, name) {
			w.interfaces[index] = true
		}
	}
	w.flag(len(r.Inbound.ExcludeInterfaces) > 0, hasInterfaces)
	for _, p := range f.locals {
		w.locals[network{locals, p}] = true
	}
	return w
}

func (w *wish) flag(set bool, flag uint32) {
	if set {
		w.config.Flags |= flag
	}
}

func (w *wish) addNetworks(k netKind, flag uint32, prefixes []netip.Prefix) {
	w.flag(len(prefixes) > 0, flag)
	for _, p := range prefixes {
		w.networks[network{k, p}] = true
	}
}

func (w *wish) addOwners(role uint32, o redirect.Owners, f facts) {
	w.flag(len(o.UIDs) > 0, hasUIDs)
	w.flag(len(o.GIDs) > 0, hasGIDs)
	w.flag(len(o.Cgroups) > 0, hasCgroups)
	for _, id := range o.UIDs {
		w.owners[owner{byUID, uint64(id)}] |= role
	}
	for _, id := range o.GIDs {
		w.owners[owner{byGID, uint64(id)}] |= role
	}
	for _, path := range o.Cgroups {
		if id, ok := f.cgroups[path]; ok {
			w.owners[owner{byCgroup, id}] |= role
		}
	}
}

// inboundPorts are those that are redirected. The proxy's own listeners are
// kept out of it by the program.
func inboundPorts(in redirect.Inbound) []redirect.PortRange {
	if !in.All {
		return in.Ports
	}
	var out []redirect.PortRange
	first := 1
	for _, p := range in.ExcludePorts { // sorted and merged
		if int(p.First) > first {
			out = append(out, redirect.PortRange{First: uint16(first), Last: p.First - 1})
		}
		first = int(p.Last) + 1
	}
	if first <= 65535 {
		out = append(out, redirect.PortRange{First: uint16(first), Last: 65535})
	}
	return out
}

func setPorts(bits *[1024]uint64, ranges []redirect.PortRange) {
	for _, r := range ranges {
		for port := int(r.First); port <= int(r.Last); port++ {
			bits[port/64] |= 1 << (port % 64)
		}
	}
}

// portsOf is what setPorts made of ranges.
func portsOf(bits *[1024]uint64) (out []redirect.PortRange) {
	for port := range 65536 {
		if bits[port/64]>>(port%64)&1 == 0 {
			continue
		}
		if n := len(out); n > 0 && int(out[n-1].Last)+1 == port {
			out[n-1].Last = uint16(port)
			continue
		}
		out = append(out, redirect.PortRange{First: uint16(port), Last: uint16(port)})
	}
	return out
}

// matches tells whether a name is among patterns of interfaces.
func matches(patterns []string, name string) bool {
	for _, p := range patterns {
		if stem, pattern := strings.CutSuffix(p, "*"); p == name || pattern && strings.HasPrefix(name, stem) {
			return true
		}
	}
	return false
}
