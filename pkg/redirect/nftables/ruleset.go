//go:build linux

package nftables

import (
	"net/netip"
	"slices"

	"github.com/google/nftables"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// A ruleset is what the kernel should hold: pure data, made from rules and the
// ids of the cgroups that they name.
type ruleset struct {
	table  string
	sets   []set
	chains []chain
	routes []netip.Prefix
	absent []string // cgroups that the rules name and that are not there
	// rewriting is chain inbound_nat as it would be if it rewrote; nil where it
	// does. See via.
	rewriting *chain
}

// A chain without a hook is jumped to by chains after it.
type chain struct {
	name     string
	kind     nftables.ChainType
	hook     hook
	priority int32
	rules    []rule
}

// A hook is a place in the kernel's packet path.
type hook struct {
	name string
	num  nftables.ChainHook
}

var (
	hookPrerouting = hook{"prerouting", *nftables.ChainHookPrerouting}
	hookInput      = hook{"input", *nftables.ChainHookInput}
	hookOutput     = hook{"output", *nftables.ChainHookOutput}
)

// A rule's name is unique in its chain and travels as the rule's comment.
type rule struct {
	name  string
	parts []part
}

// Priorities, lower first. Sources: include/uapi/linux/netfilter_ipv4.h.
const (
	prioRaw    = -300 // before conntrack (-200), so that a zone can still be chosen
	prioMangle = -150 // before other people's destination NAT (-100)
	prioNAT    = -105 // a little before other people's destination NAT (-100)
	prioInput  = 10   // after the host's own filter (0), which goes on deciding first
)

// Sets. The first two have these very names, by which a table is known as
// ours; the others are named after their content as well. While the first two
// change, the last rule of chain outbound redirects calls to services. Sets of
// owners are named after the list they are in, see owned.
const (
	setVIPs4     = "weft_vips"
	setVIPs6     = "weft_vips6"
	setMarks     = "marks"
	setPorts     = "inbound_ports"
	setInPorts   = "inbound_exclude_ports"
	setSources4  = "inbound_exclude_sources"
	setSources6  = "inbound_exclude_sources6"
	setInIfaces  = "inbound_exclude_interfaces"
	setBridges   = "bridges"
	setForwarded = "forwarded_interfaces"
	setExclPorts = "outbound_exclude_ports"
	setExclDst4  = "outbound_exclude_destinations"
	setExclDst6  = "outbound_exclude_destinations6"
	setOutIfaces = "outbound_exclude_interfaces"

	ownersProxy       = "proxy"
	ownersOnly        = "outbound_only"
	ownersExclude     = "outbound_exclude"
	ownersDNSExcluded = "dns_exclude"
)

// Chains that are asked for by name.
const (
	chainInbound    = "inbound"
	chainInboundNAT = "inbound_nat"
)

// dnsZone is the conntrack zone of redirected queries: "we" in ASCII.
const dnsZone = 0x7765

const dnsPort = 53

// build makes the ruleset of normal rules.
func build(r redirect.Rules, c cgroups) ruleset {
	b := builder{Rules: r, cgroups: c, named: make(map[string]string)}
	b.addSets()
	rs := ruleset{table: r.Table, routes: r.VIPs, sets: b.sets}
	for _, p := range slices.Compact(slices.Sorted(slices.Values(named(r)))) {
		if _, ok := c.ids[p]; !ok {
			rs.absent = append(rs.absent, p)
		}
	}
	if b.keeps() {
		c := b.inboundNAT(redirect.Rewrite)
		rs.rewriting = &c
	}
	rs.chains = slices.Concat(b.incoming(), b.translated(), b.dns(), b.output(), b.input())
	if b.ConfirmWithin != 0 {
		rs.sets = append(rs.sets, leaseSet(setTrial, b.ConfirmWithin))
		for i, c := range rs.chains {
			if c.hooked() {
				rs.chains[i].rules = slices.Insert(c.rules, 0, rule{name: "trial: nothing once it is over", parts: []part{leaseOver(setTrial), ret()}})
			}
		}
	}
	return rs
}

// A builder knows the sets when the chains that use them are made.
type builder struct {
	redirect.Rules
	cgroups cgroups
	sets    []set
	named   map[string]string
}

func (b *builder) addSets() {
	v4, v6 := byFamily(b.VIPs)
	b.sets = []set{prefixSet(setVIPs4, v4, typeIP), prefixSet(setVIPs6, v6, typeIP6)}
	b.named[setVIPs4], b.named[setVIPs6] = setVIPs4, setVIPs6
	if b.Outbound.To != 0 || b.DNS.To != 0 {
		b.addSet(markSet(setMarks, []uint32{b.Marks.Outbound, b.Marks.Inbound, b.Marks.Agent}))
		b.addOwners(ownersProxy, b.Proxy)
		b.addOwners(ownersOnly, b.Outbound.Only)
	}
	if b.Inbound.To != 0 {
		b.addSet(portSet(setPorts, b.Inbound.Ports))
		if b.Inbound.All {
			b.addSet(portSet(setInPorts, b.notEnrolled()))
		}
		v4, v6 = byFamily(b.Inbound.ExcludeSources)
		b.addSet(prefixSet(setSources4, v4, typeIP))
		b.addSet(prefixSet(setSources6, v6, typeIP6))
		b.addSet(nameSet(setInIfaces, b.Inbound.ExcludeInterfaces))
		if b.keeps() {
			b.addSet(set{name: setBridges, kind: typeSeen})
		}
	}
	if b.Outbound.To != 0 {
		b.addSet(nameSet(setForwarded, b.Outbound.Forwarded))
		b.addSet(portSet(setExclPorts, b.Outbound.ExcludePorts))
		v4, v6 = byFamily(b.Outbound.ExcludeDestinations)
		b.addSet(prefixSet(setExclDst4, v4, typeIP))
		b.addSet(prefixSet(setExclDst6, v6, typeIP6))
		b.addSet(nameSet(setOutIfaces, b.Outbound.ExcludeInterfaces))
		b.addOwners(ownersExclude, b.Outbound.Exclude)
	}
	if b.DNS.To != 0 {
		b.addOwners(ownersDNSExcluded, b.DNS.Exclude)
	}
	if b.FailOpen != 0 && (b.Outbound.To != 0 || b.DNS.To != 0) {
		b.sets = append(b.sets, leaseSet(setLease, b.FailOpen))
	}
}

// notEnrolled are the ports that "all" does not mean: besides the excluded ones
// those of the proxy and the agent themselves.
func (b *builder) notEnrolled() []redirect.PortRange {
	in := redirect.Inbound{ExcludePorts: slices.Clone(b.Inbound.ExcludePorts)}
	for _, p := range []uint16{b.Inbound.To, b.Outbound.To, b.DNS.To} {
		if p != 0 {
			in.ExcludePorts = append(in.ExcludePorts, redirect.PortRange{First: p, Last: p})
		}
	}
	return redirect.Rules{Inbound: in}.Normal().Inbound.ExcludePorts
}

// leased is a condition that holds while the lease does: none without one.
func (b *builder) leased() part {
	if b.FailOpen == 0 {
		return part{}
	}
	return leaseHolds(setLease)
}

// addSet keeps sets that have elements.
func (b *builder) addSet(s set) {
	if len(s.elements) == 0 && !s.kind.varies {
		return
	}
	role := s.name
	if !s.kind.varies {
		s.name += "_" + s.fingerprint()
	}
	b.named[role] = s.name
	b.sets = append(b.sets, s)
}

// addIn adds a rule about a set, if there is one.
func (b *builder) addIn(c *chain, name, role string, in func(set string) part, then ...part) {
	if set, ok := b.named[role]; ok {
		c.add(name, append([]part{in(set)}, then...)...)
	}
}

func (c chain) hooked() bool { return c.kind != "" }

// add leaves out parts that say nothing.
func (c *chain) add(name string, parts ...part) {
	parts = slices.DeleteFunc(parts, func(p part) bool { return p.text == "" })
	c.rules = append(c.rules, rule{name: name, parts: parts})
}

func (c *chain) addIf(ok bool, name string, parts ...part) {
	if ok {
		c.add(name, parts...)
	}
}

func byFamily(prefixes []netip.Prefix) (v4, v6 []netip.Prefix) {
	for _, p := range prefixes {
		if p.Addr().Is4() {
			v4 = append(v4, p)
		} else {
			v6 = append(v6, p)
		}
	}
	return v4, v6
}
