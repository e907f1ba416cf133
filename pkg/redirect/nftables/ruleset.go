//go:build linux

package nftables

import (
	"net/netip"
	"slices"

	"github.com/google/nftables"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// A ruleset is what the kernel should hold: pure data, made from rules alone.
type ruleset struct {
	table  string
	sets   []set
	chains []chain
	routes []netip.Prefix
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
	prioOutput = -105 // a little before other people's destination NAT (-100)
	prioInput  = 10   // after the host's own filter (0), which goes on deciding first
)

// Sets. The first two have these very names, by which a table is known as
// ours; the others are named after their content as well. While the first two
// change, the last rule of chain output redirects calls to services.
const (
	setVIPs4       = "weft_vips"
	setVIPs6       = "weft_vips6"
	setMarks       = "marks"
	setPorts       = "inbound_ports"
	setSources4    = "inbound_exclude_sources"
	setSources6    = "inbound_exclude_sources6"
	setExclPorts   = "outbound_exclude_ports"
	setExclDst4    = "outbound_exclude_destinations"
	setExclDst6    = "outbound_exclude_destinations6"
	setExclUIDs    = "outbound_exclude_uids"
	setDNSExclUIDs = "dns_exclude_uids"
)

// dnsZone is the conntrack zone of redirected queries: "we" in ASCII.
const dnsZone = 0x7765

const dnsPort = 53

// build makes the ruleset of normal rules.
func build(r redirect.Rules) ruleset {
	b := builder{Rules: r, named: make(map[string]string)}
	b.addSets()
	rs := ruleset{table: r.Table, routes: r.VIPs, sets: b.sets}
	if r.Inbound.To != 0 {
		rs.chains = append(rs.chains, b.inbound()...)
	}
	if r.DNS.To != 0 {
		rs.chains = append(rs.chains, b.dns())
	}
	if r.Outbound.To != 0 || r.DNS.To != 0 {
		rs.chains = append(rs.chains, b.output())
	}
	if r.Inbound.To != 0 || r.Outbound.To != 0 {
		rs.chains = append(rs.chains, b.input())
	}
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
	sets  []set
	named map[string]string
}

func (b *builder) addSets() {
	v4, v6 := byFamily(b.VIPs)
	b.sets = []set{prefixSet(setVIPs4, v4, typeIP), prefixSet(setVIPs6, v6, typeIP6)}
	b.named[setVIPs4], b.named[setVIPs6] = setVIPs4, setVIPs6
	if b.Outbound.To != 0 || b.DNS.To != 0 {
		b.addSet(markSet(setMarks, []uint32{b.Marks.Outbound, b.Marks.Inbound, b.Marks.Agent}))
	}
	if b.Inbound.To != 0 {
		b.addSet(portSet(setPorts, b.Inbound.Ports))
		v4, v6 = byFamily(b.Inbound.ExcludeSources)
		b.addSet(prefixSet(setSources4, v4, typeIP))
		b.addSet(prefixSet(setSources6, v6, typeIP6))
	}
	if b.Outbound.To != 0 {
		b.addSet(portSet(setExclPorts, b.Outbound.ExcludePorts))
		v4, v6 = byFamily(b.Outbound.ExcludeDestinations)
		b.addSet(prefixSet(setExclDst4, v4, typeIP))
		b.addSet(prefixSet(setExclDst6, v6, typeIP6))
		b.addSet(uidSet(setExclUIDs, b.Outbound.Exclude.UIDs))
	}
	if b.DNS.To != 0 {
		b.addSet(uidSet(setDNSExclUIDs, b.DNS.Exclude.UIDs))
	}
	if b.FailOpen != 0 && (b.Outbound.To != 0 || b.DNS.To != 0) {
		b.sets = append(b.sets, leaseSet(setLease, b.FailOpen))
	}
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
	if len(s.elements) == 0 {
		return
	}
	role := s.name
	s.name += "_" + s.fingerprint()
	b.named[role] = s.name
	b.sets = append(b.sets, s)
}

// addIn adds a rule about a set, if there is one.
func (b *builder) addIn(c *chain, name, role string, in func(set string) part, then ...part) {
	if set, ok := b.named[role]; ok {
		c.add(name, append([]part{in(set)}, then...)...)
	}
}

// inbound asks every packet for its port only, and what is enrolled goes on
// to chain inbound.
func (b *builder) inbound() []chain {
	ports, ok := b.named[setPorts]
	if !ok {
		return nil
	}
	hook := chain{name: "prerouting", kind: nftables.ChainTypeFilter, hook: hookPrerouting, priority: prioMangle}
	c := chain{name: "inbound"}
	hook.add("inbound: enrolled ports", tcpTo(ports), jump(c.name))
	c.add("inbound: forwarded traffic is not ours", fibNotLocal(), ret())
	c.add("inbound: of this host's own calls only the proxy's", iifLoopback(), markNot(b.Marks.Mask, b.Marks.Outbound), ret())
	b.addIn(&c, "inbound: excluded IPv4 sources", setSources4, ipSource, ret())
	b.addIn(&c, "inbound: excluded IPv6 sources", setSources6, ip6Source, ret())
	c.add("inbound: to the proxy", l4proto(tcp), tproxy(b.Inbound.To), accept())
	c.add("inbound: closed while the proxy is away", l4proto(tcp), tcpSYN(), reset())
	return []chain{c, hook}
}

// dns gives redirected queries and their answers the same zone. Its conditions
// on queries are those of chain output. Answers come first: the agent may mark
// the socket that it answers from.
func (b *builder) dns() chain {
	c := chain{name: "dns", kind: nftables.ChainTypeFilter, hook: hookOutput, priority: prioRaw}
	c.add("dns: answers of the agent", oifLoopback(), portFrom(udp, b.DNS.To), zone(dnsZone))
	c.add("dns: queries to the agent itself", oifLoopback(), portIs(udp, b.DNS.To), zone(dnsZone))
	c.add("dns: proxy and agent go straight", markIn(b.Marks.Mask, b.named[setMarks]), ret())
	b.addIn(&c, "dns: excluded users", setDNSExclUIDs, userIn, ret())
	c.add("dns: redirected queries", portIs(udp, dnsPort), b.leased(), zone(dnsZone))
	return c
}

// output redirects connections by their first packet. NAT chains see only what
// conntrack takes for new, and that includes the next packet of a connection
// from before conntrack ran: without the look at the flags, the first rules on
// a host would cut every session to it, its owner's SSH among them.
func (b *builder) output() chain {
	c := chain{name: "output", kind: nftables.ChainTypeNAT, hook: hookOutput, priority: prioOutput}
	c.add("outbound: proxy and agent go straight", markIn(b.Marks.Mask, b.named[setMarks]), ret())
	if b.DNS.To != 0 {
		b.addIn(&c, "dns: excluded users over UDP", setDNSExclUIDs, userIn, portIs(udp, dnsPort), ret())
		b.addIn(&c, "dns: excluded users over TCP", setDNSExclUIDs, userIn, portIs(tcp, dnsPort), ret())
		c.add("dns: UDP to the agent", portIs(udp, dnsPort), b.leased(), redirectTo(b.DNS.To))
		c.add("dns: TCP to the agent", portIs(tcp, dnsPort), tcpSYN(), b.leased(), redirectTo(b.DNS.To))
	}
	if b.Outbound.To == 0 {
		return c
	}
	vip4, vip6 := byFamily(b.VIPs)
	c.add("outbound: only connections that begin", l4proto(tcp), tcpNotSYN(), ret())
	c.addIf(len(vip4) > 0, "outbound: IPv4 services to the proxy", ipDestination(setVIPs4), l4proto(tcp), redirectTo(b.Outbound.To))
	c.addIf(len(vip6) > 0, "outbound: IPv6 services to the proxy", ip6Destination(setVIPs6), l4proto(tcp), redirectTo(b.Outbound.To))
	c.add("outbound: this host's addresses and loopback go straight", fibLocal(), ret())
	b.addIn(&c, "outbound: excluded IPv4 destinations", setExclDst4, ipDestination, ret())
	b.addIn(&c, "outbound: excluded IPv6 destinations", setExclDst6, ip6Destination, ret())
	b.addIn(&c, "outbound: excluded ports", setExclPorts, tcpTo, ret())
	b.addIn(&c, "outbound: excluded users", setExclUIDs, userIn, ret())
	c.add("outbound: to the proxy", l4proto(tcp), b.leased(), redirectTo(b.Outbound.To))
	return c
}

// input refuses who calls the proxy's listeners directly. TPROXY leaves the
// port as it was, so whatever still has the inbound listener's port here was
// sent to it; REDIRECT leaves its trace in conntrack.
func (b *builder) input() chain {
	c := chain{name: "input", kind: nftables.ChainTypeFilter, hook: hookInput, priority: prioInput}
	c.addIf(b.Inbound.To != 0, "input: the inbound listener is not called directly",
		portIs(tcp, b.Inbound.To), tcpSYN(), reset())
	c.addIf(b.Outbound.To != 0, "input: the outbound listener is not called directly",
		portIs(tcp, b.Outbound.To), tcpSYN(), notRedirected(), reset())
	return c
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
