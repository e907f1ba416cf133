//go:build linux

package nftables

import (
	"github.com/google/nftables"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// incoming hands connections of others to the proxy, destination and port
// kept. It asks every packet for its port only, and what is enrolled goes on.
func (b *builder) incoming() []chain {
	if b.Inbound.To == 0 || b.Inbound.Method == redirect.Rewrite || !b.enrolls() {
		return nil
	}
	hook := chain{name: "prerouting", kind: nftables.ChainTypeFilter, hook: hookPrerouting, priority: prioMangle}
	c := chain{name: "inbound"}
	hook.add("inbound: enrolled ports", b.enrolled(), jump(c.name))
	b.notInbound(&c)
	c.add("inbound: answers are not ours", isAnswer(), ret())
	c.add("inbound: of this host's own calls only the proxy's", iifLoopback(), markNot(b.Marks.Mask, b.Marks.Outbound), ret())
	c.add("inbound: to the proxy", l4proto(tcp), tproxy(b.Inbound.To), accept())
	c.add("inbound: closed while the proxy is away", l4proto(tcp), tcpSYN(), reset())
	return []chain{c, hook}
}

// translated sees the first packet of each connection of others. Its conditions
// are those of incoming, and of output for the proxy's calls to this host.
//
// With TPROXY destinations become themselves: otherwise somebody else's
// destination NAT, such as a published port's, would send what the proxy got on
// its way, which the kernel drops.
func (b *builder) translated() []chain {
	hook := chain{name: "prerouting_nat", kind: nftables.ChainTypeNAT, hook: hookPrerouting, priority: prioNAT}
	var chains []chain
	if b.Inbound.To != 0 && b.enrolls() {
		c := chain{name: "inbound_nat"}
		hook.add("inbound: enrolled ports", b.enrolled(), jump(c.name))
		b.notInbound(&c)
		if b.Inbound.Method == redirect.Rewrite {
			c.add("inbound: to the proxy", l4proto(tcp), tcpSYN(), redirectTo(b.Inbound.To))
		} else {
			c.add("inbound: IPv4 stays as it is", isIPv4(), asItIs())
			c.add("inbound: IPv6 stays as it is", isIPv6(), asItIs6())
		}
		chains = append(chains, c)
	}
	if _, ok := b.named[setForwarded]; ok {
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

// enrolls tells whether there is a port to redirect.
func (b *builder) enrolls() bool { return b.Inbound.All || len(b.Inbound.Ports) > 0 }

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
// the proxy. Queries are not ours: they go to the server that was asked.
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

// input refuses who calls the proxy's listeners directly. TPROXY leaves the
// port as it was, so whatever still has the inbound listener's port here was
// sent to it; REDIRECT leaves its trace in conntrack.
func (b *builder) input() []chain {
	if b.Inbound.To == 0 && b.Outbound.To == 0 {
		return nil
	}
	c := chain{name: "input", kind: nftables.ChainTypeFilter, hook: hookInput, priority: prioInput}
	redirected := part{}
	if b.Inbound.Method == redirect.Rewrite {
		redirected = notRedirected()
	}
	c.addIf(b.Inbound.To != 0, "input: the inbound listener is not called directly",
		portIs(tcp, b.Inbound.To), tcpSYN(), redirected, reset())
	c.addIf(b.Outbound.To != 0, "input: the outbound listener is not called directly",
		portIs(tcp, b.Outbound.To), tcpSYN(), notRedirected(), reset())
	return []chain{c}
}
