//go:build linux

package nftables

import (
	"slices"

	"github.com/google/nftables"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// services gives calls to them to the proxy, which alone can reach them.
func (b *builder) services(c *chain, prefix string) {
	v4, v6 := byFamily(b.VIPs)
	c.addIf(len(v4) > 0, prefix+"IPv4 services to the proxy", ipDestination(setVIPs4), l4proto(tcp), redirectTo(b.Outbound.To))
	c.addIf(len(v6) > 0, prefix+"IPv6 services to the proxy", ip6Destination(setVIPs6), l4proto(tcp), redirectTo(b.Outbound.To))
}

// notOutbound lets pass what is excluded by where it goes.
func (b *builder) notOutbound(c *chain, prefix string) {
	b.addIn(c, prefix+"excluded IPv4 destinations", setExclDst4, ipDestination, ret())
	b.addIn(c, prefix+"excluded IPv6 destinations", setExclDst6, ip6Destination, ret())
	b.addIn(c, prefix+"excluded ports", setExclPorts, tcpTo, ret())
}

// dns gives redirected queries and their answers the same zone. Its conditions
// on queries are those of chains output and queries. Answers come first: the
// agent may mark the socket that it answers from.
func (b *builder) dns() []chain {
	if b.DNS.To == 0 {
		return nil
	}
	hook := chain{name: "dns", kind: nftables.ChainTypeFilter, hook: hookOutput, priority: prioRaw}
	hook.add("dns: answers of the agent", oifLoopback(), portFrom(udp, b.DNS.To), zone(dnsZone))
	hook.add("dns: queries to the agent itself", oifLoopback(), portIs(udp, b.DNS.To), zone(dnsZone))
	c := chain{name: "zones"}
	b.enlisted(&hook, "dns", c.name, portIs(udp, dnsPort))
	for _, o := range owned(ownersDNSExcluded, b.DNS.Exclude) {
		b.addIn(&c, "dns: excluded "+o.what, o.set, o.in, ret())
	}
	c.add("dns: redirected queries", l4proto(udp), b.leased(), zone(dnsZone))
	return []chain{c, hook}
}

// enlisted lets the proxy and the agent go straight and continues with those
// whose calls are redirected in another chain.
func (b *builder) enlisted(hook *chain, prefix, next string, conditions ...part) {
	hook.add(prefix+": proxy and agent go straight", markIn(b.Marks.Mask, b.named[setMarks]), ret())
	for _, o := range owned(ownersProxy, b.Proxy) {
		b.addIn(hook, prefix+": the proxy's "+o.what+" go straight", o.set, o.in, ret())
	}
	if b.Outbound.Only.IsZero() {
		hook.add(prefix+": of everybody", append(conditions, continueIn(next))...)
		return
	}
	for _, o := range owned(ownersOnly, b.Outbound.Only) {
		hook.add(prefix+": of enrolled "+o.what, slices.Concat(conditions, []part{o.in(b.named[o.set]), continueIn(next)})...)
	}
}

// output redirects connections by their first packet. NAT chains see only what
// conntrack takes for new, and that includes the next packet of a connection
// from before conntrack ran: without the look at the flags, the first rules on
// a host would cut every session to it, its owner's SSH among them.
func (b *builder) output() []chain {
	calls := b.Outbound.To != 0 || b.DNS.To != 0
	if !calls && (!b.enrolls() || b.Inbound.Method != redirect.Rewrite) {
		return nil
	}
	hook := chain{name: "output", kind: nftables.ChainTypeNAT, hook: hookOutput, priority: prioNAT}
	if b.enrolls() {
		hook.add("inbound: the proxy's calls to this host", b.enrolled(), markIs(b.Marks.Mask, b.Marks.Outbound), jump(chainInboundNAT))
	}
	if !calls {
		return []chain{hook}
	}
	c := chain{name: "outbound"}
	b.enlisted(&hook, "outbound", c.name)
	chains := []chain{c, hook}
	if b.DNS.To != 0 {
		q := chain{name: "queries"}
		chains[0].add("dns: UDP queries", portIs(udp, dnsPort), jump(q.name))
		chains[0].add("dns: TCP queries", portIs(tcp, dnsPort), tcpSYN(), jump(q.name))
		for _, o := range owned(ownersDNSExcluded, b.DNS.Exclude) {
			b.addIn(&q, "dns: excluded "+o.what, o.set, o.in, accept())
		}
		q.add("dns: UDP to the agent", l4proto(udp), b.leased(), redirectTo(b.DNS.To))
		q.add("dns: TCP to the agent", l4proto(tcp), b.leased(), redirectTo(b.DNS.To))
		chains = append(chains, q)
	}
	if b.Outbound.To != 0 {
		b.outbound(&chains[0])
	}
	return chains
}

func (b *builder) outbound(c *chain) {
	c.add("outbound: only connections that begin", l4proto(tcp), tcpNotSYN(), ret())
	b.services(c, "outbound: ")
	c.add("outbound: this host's addresses and loopback go straight", fibLocal(), ret())
	b.notOutbound(c, "outbound: ")
	b.addIn(c, "outbound: excluded interfaces", setOutIfaces, leavesBy, ret())
	for _, o := range owned(ownersExclude, b.Outbound.Exclude) {
		b.addIn(c, "outbound: excluded "+o.what, o.set, o.in, ret())
	}
	c.add("outbound: to the proxy", l4proto(tcp), b.leased(), redirectTo(b.Outbound.To))
}
