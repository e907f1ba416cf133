//go:build linux

package nftables

import (
	"github.com/google/nftables"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// incoming hands connections of others to the proxy, destination and port
// kept. It asks every packet for its port only, and what is enrolled goes on.
func (b *builder) incoming() []chain {
	if !b.keeps() {
		return nil
	}
	hook := chain{name: "prerouting", kind: nftables.ChainTypeFilter, hook: hookPrerouting, priority: prioMangle}
	c := chain{name: chainInbound}
	hook.add("inbound: enrolled ports", b.enrolled(), jump(c.name))
	b.notInbound(&c)
	c.add("inbound: answers are not ours", isAnswer(), ret())
	c.add("inbound: what was translated stays so", isRedirected(), ret())
	c.add("inbound: of this host's own calls only the proxy's", iifLoopback(), markNot(b.Marks.Mask, b.Marks.Outbound), ret())
	c.add("inbound: what comes by a bridge is told", comesByBridge(), l4proto(tcp), tcpSYN(), setMark(b.Marks.Mask, b.Marks.Inbound))
	c.add("inbound: to the proxy", l4proto(tcp), tproxy(b.Inbound.To), accept())
	c.add("inbound: closed while the proxy is away", l4proto(tcp), tcpSYN(), reset())
	return []chain{c, hook}
}

// translated sees the first packet of each connection of others. Its conditions
// are those of incoming, and of output for the proxy's calls to this host.
func (b *builder) translated() []chain {
	hook := chain{name: "prerouting_nat", kind: nftables.ChainTypeNAT, hook: hookPrerouting, priority: prioNAT}
	var chains []chain
	if b.enrolls() {
		hook.add("inbound: enrolled ports", b.enrolled(), jump(chainInboundNAT))
		chains = append(chains, b.inboundNAT(b.Inbound.Method))
	}
	if len(b.Outbound.Forwarded) > 0 {
		c := chain{name: "forwarded"}
		b.addIn(&hook, "forwarded: of named interfaces", setForwarded, comesBy, l4proto(tcp), tcpSYN(), jump(c.name))
		b.forwarded(&c)
		chains = append(chains, c)
	}
	if len(chains) == 0 {
		return nil
	}
	return append(chains, hook)
}

// inboundNAT makes the proxy's listener the destination, or the destination
// itself: otherwise somebody else's destination NAT, such as a published port's,
// would send what TPROXY gave to the proxy on its way, which the kernel drops.
func (b *builder) inboundNAT(m redirect.Method) chain {
	c := chain{name: chainInboundNAT}
	b.notInbound(&c)
	if m == redirect.Rewrite {
		c.add("inbound: to the proxy", l4proto(tcp), tcpSYN(), redirectTo(b.Inbound.To))
		return c
	}
	b.addIn(&c, "inbound: from bridges to the proxy", setBridges, comesBy, l4proto(tcp), tcpSYN(), redirectTo(b.Inbound.To))
	c.add("inbound: IPv4 stays as it is", isIPv4(), asItIs())
	c.add("inbound: IPv6 stays as it is", isIPv6(), asItIs6())
	return c
}

// enrolls tells whether there is a port to redirect, and keeps whether it stays
// as it is.
func (b *builder) enrolls() bool {
	return b.Inbound.To != 0 && (b.Inbound.All || len(b.Inbound.Ports) > 0)
}
func (b *builder) keeps() bool { return b.enrolls() && b.Inbound.Method == redirect.Keep }

func (b *builder) enrolled() part {
	if ports, ok := b.named[setPorts]; ok {
		return tcpTo(ports)
	}
	return l4proto(tcp)
}

// notInbound lets pass what the proxy is not to get of enrolled ports.
func (b *builder) notInbound(c *chain) {
	c.add("inbound: forwarded traffic is not ours", fibNotLocal(), ret())
	b.addIn(c, "inbound: excluded ports", setInPorts, tcpTo, ret())
	b.addIn(c, "inbound: excluded interfaces", setInIfaces, comesBy, ret())
	b.addIn(c, "inbound: excluded IPv4 sources", setSources4, ipSource, ret())
	b.addIn(c, "inbound: excluded IPv6 sources", setSources6, ip6Source, ret())
}

// forwarded gives what begins at a named interface and is not for this host to
// the proxy, at the interface's own address. Queries are not ours: they go to the
// server that was asked.
func (b *builder) forwarded(c *chain) {
	c.add("forwarded: calls of this host's addresses are not", fibLocal(), ret())
	c.add("forwarded: what stays on its segment is not", staysOnSegment(), ret())
	c.add("forwarded: queries go straight", portIs(tcp, dnsPort), ret())
	b.services(c, "forwarded: ")
	b.notOutbound(c, "forwarded: ")
	for _, i := range b.Outbound.ExcludeInterfaces {
		c.add("forwarded: out by "+i, routedBy(i), ret())
	}
	c.add("forwarded: to the proxy", l4proto(tcp), b.leased(), redirectTo(b.Outbound.To))
}

// input refuses who calls the proxy's listeners directly: redirection leaves its
// trace in conntrack, or the port as it was. And it learns of bridges.
//
// Where netfilter sees what a bridge carries (br_netfilter, as Docker has it),
// packets lose the socket that TPROXY gave them on their way up, and would reach
// the workload. What the mark tells to have come so is dropped once and its
// bridge learnt; the caller asks again within a second, and from then on what
// comes by that bridge is redirected.
func (b *builder) input() []chain {
	if b.Inbound.To == 0 && b.Outbound.To == 0 {
		return nil
	}
	hook := chain{name: "input", kind: nftables.ChainTypeFilter, hook: hookInput, priority: prioInput}
	var chains []chain
	if b.keeps() {
		c := chain{name: "astray"}
		hook.add("inbound: what came by a bridge", comesByBridge(), l4proto(tcp), tcpSYN(), markIs(b.Marks.Mask, b.Marks.Inbound), jump(c.name))
		c.add("inbound: handed to the proxy", isHandedOver(), ret())
		b.addIn(&c, "inbound: a bridge is learnt", setBridges, learn, drop())
		chains = append(chains, c)
	}
	hook.addIf(b.Inbound.To != 0, "input: the inbound listener is not called directly",
		portIs(tcp, b.Inbound.To), tcpSYN(), notRedirected(), reset())
	hook.addIf(b.Outbound.To != 0, "input: the outbound listener is not called directly",
		portIs(tcp, b.Outbound.To), tcpSYN(), notRedirected(), reset())
	return append(chains, hook)
}
