//go:build linux

package iptables

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// A family is IPv4 or IPv6.
type family int

const (
	ipv4 family = iota
	ipv6
)

func (f family) String() string { return [...]string{"IPv4", "IPv6"}[f] }

// has reports whether a prefix is of this family.
func (f family) has(p netip.Prefix) bool { return p.Addr().Is4() == (f == ipv4) }

// everywhere is all addresses.
func (f family) everywhere() string { return [...]string{"0.0.0.0/0", "::/0"}[f] }

// A section is what we want in one iptables table: chains of ours, and how
// packets get to them.
type section struct {
	table  string
	jumps  []jump
	chains []chain
}

// A jump leads from a built-in chain to a gate of ours.
type jump struct {
	hook string // the built-in chain
	only string // which packets jump
	role string // of the gate, and of the chains behind it
}

// A chain is known by its role; generations of it have different names.
type chain struct {
	role  string
	rules []rule
}

// A rule's name is unique in its chain and travels as the rule's comment.
type rule struct {
	name   string
	match  string
	target string
	role   string // of the chain to jump to, instead of a target
	forth  bool   // go there for good, so that it returns to the built-in chain
}

// dnsZone is the conntrack zone of redirected queries: "we" in ASCII, the same
// as the nftables engine's.
const dnsZone = 0x7765

// portsPerRule is how many ports the multiport match takes; a range counts as
// two. Source: XT_MULTI_PORTS in include/uapi/linux/netfilter/xt_multiport.h.
const portsPerRule = 15

const (
	flagsAll = "FIN,SYN,RST,ACK"
	isSYN    = "-p tcp -m tcp --tcp-flags " + flagsAll + " SYN"
	notSYN   = "-p tcp -m tcp ! --tcp-flags " + flagsAll + " SYN"
	isACK    = "-p tcp -m tcp --tcp-flags " + flagsAll + " ACK"
)

// build makes the sections of rules for one family: pure data.
func build(r rules, f family) []section {
	b := builder{r, f}
	var out []section
	for _, s := range []section{b.filter(), b.raw(), b.mangle(), b.nat()} {
		if len(s.jumps) > 0 {
			out = append(out, s)
		}
	}
	return out
}

type builder struct {
	rules
	family family
}

// entries are the roles of chains that packets come to first, by gates.
var entries = []string{"input", "dns", "prerouting", "output"}

// enter adds a chain to which a gate leads, from a built-in chain.
func (s *section) enter(hook, only string, c chain, further ...chain) {
	s.jumps = append(s.jumps, jump{hook, only, c.role})
	s.chains = append(append(s.chains, c), further...)
}

// filter refuses who calls the proxy's listeners directly. What TPROXY sent
// there has another port still, and REDIRECT leaves its trace in conntrack. The
// rules are the same for both methods, so that one can follow the other.
func (b builder) filter() section {
	s := section{table: "filter"}
	c := chain{role: "input"}
	refuse := func(name string, port uint16) {
		if port != 0 {
			c.add(name, fmt.Sprintf("%s --dport %d -m conntrack ! --ctstate DNAT", isSYN, port), "REJECT --reject-with tcp-reset")
		}
	}
	refuse("input: the inbound listener is not called directly", b.Inbound.To)
	refuse("input: the outbound listener is not called directly", b.Outbound.To)
	if len(c.rules) > 0 {
		s.enter("INPUT", "-p tcp", c)
	}
	return s
}

// raw gives redirected queries and their answers the same zone. Its conditions
// on queries are those of the nat table. Answers come first: the agent may mark
// the socket that it answers from.
func (b builder) raw() section {
	s := section{table: "raw"}
	if b.DNS.To == 0 {
		return s
	}
	zone := fmt.Sprintf("CT --zone %d", dnsZone)
	c, zones := chain{role: "dns"}, chain{role: "zones"}
	c.add("dns: answers of the agent", fmt.Sprintf("-o lo -p udp -m udp --sport %d", b.DNS.To), zone)
	c.add("dns: queries to the agent itself", fmt.Sprintf("-o lo -p udp -m udp --dport %d", b.DNS.To), zone)
	b.enlisted(&c, "dns", "-p udp -m udp --dport 53", zones.role)
	b.owners(&zones, "dns: excluded", "", b.DNS.Exclude, rule{target: "RETURN"})
	zones.add("dns: redirected queries", "-p udp "+b.leased(), zone)
	s.enter("OUTPUT", "-p udp", c, zones)
	return s
}

// byBridge are packets that netfilter sees on their way over a bridge.
const byBridge = "-m physdev --physdev-is-in"

// mangle hands connections of others to the proxy. It asks every packet for its
// port only; what is enrolled goes on. What comes by a bridge would lose the
// socket that TPROXY gave it, and is redirected in nat.
func (b builder) mangle() section {
	s := section{table: "mangle"}
	c := chain{role: "prerouting"}
	var further []chain
	if b.Inbound.Method == redirect.Keep && b.enrolls() {
		proxy := fmt.Sprintf("TPROXY --on-port %d", b.Inbound.To)
		in := chain{role: "inbound"}
		b.enrolled(&c, "inbound: enrolled ports", "", in.role)
		b.notInbound(&in)
		if b.bridged {
			in.add("inbound: what comes by a bridge is redirected", byBridge, "RETURN")
		}
		in.add("inbound: of this host's own calls only the proxy's", "-i lo -m mark ! "+b.mark(b.Marks.Outbound), "RETURN")
		in.add("inbound: to the proxy", isSYN, proxy)
		in.add("inbound: connections find their sockets", "-m socket", "RETURN")
		in.add("inbound: answers to SYN cookies to the proxy", isACK+" -m conntrack ! --ctstate DNAT --ctdir ORIGINAL", proxy)
		further = append(further, in)
	}
	if len(c.rules) > 0 {
		s.enter("PREROUTING", "-p tcp", c, further...)
	}
	return s
}

// nat sees the first packet of each connection. Its conditions are those of
// mangle, and of output for the proxy's calls to this host.
//
// With TPROXY destinations are mapped to themselves: otherwise somebody else's
// destination NAT, such as a published port's, would send what the proxy got on
// its way, which the kernel drops.
func (b builder) nat() section {
	s := section{table: "nat"}
	c := chain{role: "prerouting"}
	var further []chain
	in := chain{role: "inbound"}
	if b.Inbound.To != 0 && b.enrolls() {
		b.enrolled(&c, "inbound: enrolled ports", "", in.role)
		b.notInbound(&in)
		proxy := fmt.Sprintf("REDIRECT --to-ports %d", b.Inbound.To)
		if b.Inbound.Method == redirect.Rewrite {
			in.add("inbound: to the proxy", isSYN, proxy)
		} else {
			if b.bridged {
				in.add("inbound: by a bridge to the proxy", isSYN+" "+byBridge, proxy)
			}
			in.add("inbound: destinations stay as they are", "-p tcp", "NETMAP --to "+b.family.everywhere())
		}
		further = append(further, in)
	}
	if len(b.Outbound.Forwarded) > 0 {
		b.forwarded(&c, &further)
	}
	if len(c.rules) > 0 {
		s.enter("PREROUTING", "-p tcp", c, further...)
	}
	calls := b.Outbound.To != 0 || b.DNS.To != 0
	if calls || b.enrolls() && b.Inbound.Method == redirect.Rewrite {
		out := chain{role: "output"}
		if b.enrolls() {
			b.enrolled(&out, "inbound: the proxy's calls to this host", "-m mark "+b.mark(b.Marks.Outbound), in.role)
		}
		var further []chain
		if calls {
			further = b.output()
			b.enlisted(&out, "outbound", "", further[0].role)
		}
		s.enter("OUTPUT", "", out, further...)
	}
	return s
}

// enrolls tells whether there is a port to redirect.
func (b builder) enrolls() bool {
	return b.Inbound.To != 0 && (b.Inbound.All || len(b.Inbound.Ports) > 0)
}

func (b builder) enrolled(c *chain, name, match, role string) {
	if b.Inbound.All {
		c.rules = append(c.rules, rule{name: name, match: "-p tcp " + match, role: role})
		return
	}
	c.ports(name, match, b.Inbound.Ports, rule{role: role})
}

// notInbound lets pass what the proxy is not to get of enrolled ports. Of all
// ports those of the proxy and the agent themselves are none.
func (b builder) notInbound(c *chain) {
	c.add("inbound: forwarded traffic is not ours", "-m addrtype ! --dst-type LOCAL", "RETURN")
	if b.Inbound.All {
		own := redirect.Rules{Inbound: redirect.Inbound{ExcludePorts: slices.Clone(b.Inbound.ExcludePorts)}}
		for _, p := range []uint16{b.Inbound.To, b.Outbound.To, b.DNS.To} {
			if p != 0 {
				own.Inbound.ExcludePorts = append(own.Inbound.ExcludePorts, redirect.PortRange{First: p, Last: p})
			}
		}
		c.ports("inbound: excluded ports", "", own.Normal().Inbound.ExcludePorts, rule{target: "RETURN"})
	}
	c.interfaces("inbound: excluded interface", "-i", b.Inbound.ExcludeInterfaces, rule{target: "RETURN"})
	c.prefixes("inbound: excluded source", "-s", b.of(b.Inbound.ExcludeSources))
}

// forwarded gives what begins at a named interface and is not for this host to
// the proxy. Queries are not ours: they go to the server that was asked.
func (b builder) forwarded(from *chain, chains *[]chain) {
	c, take := chain{role: "forwarded"}, fmt.Sprintf("REDIRECT --to-ports %d", b.Outbound.To)
	from.interfaces("forwarded: of interface", isSYN+" -i", b.Outbound.Forwarded, rule{role: c.role})
	c.add("forwarded: calls of this host's addresses are not", "-m addrtype --dst-type LOCAL", "RETURN")
	for _, s := range b.segments {
		if b.family.has(s.prefix) {
			c.add(fmt.Sprintf("forwarded: what stays at %s, %s, is not", s.at, s.prefix), fmt.Sprintf("-i %s -d %s", s.at, s.prefix), "RETURN")
		}
	}
	c.add("forwarded: queries go straight", "-p tcp -m tcp --dport 53", "RETURN")
	for _, p := range b.of(b.VIPs) {
		c.add("forwarded: to the proxy, services "+p.String(), "-p tcp -d "+p.String(), take)
	}
	c.prefixes("forwarded: excluded destination", "-d", b.of(b.Outbound.ExcludeDestinations))
	c.ports("forwarded: excluded ports", "", b.Outbound.ExcludePorts, rule{target: "RETURN"})
	c.add("forwarded: to the proxy", "-p tcp "+b.leased(), take)
	*chains = append(*chains, c)
}

// output redirects connections by their first packet. NAT chains see only what
// conntrack takes for new, and that includes the next packet of a connection
// from before conntrack ran, hence the look at the flags.
func (b builder) output() []chain {
	c := chain{role: "outbound"}
	chains := []chain{c}
	if b.DNS.To != 0 {
		q := chain{role: "queries"}
		c.rules = append(c.rules,
			rule{name: "dns: UDP queries", match: "-p udp -m udp --dport 53", role: q.role, forth: true},
			rule{name: "dns: TCP queries", match: isSYN + " --dport 53", role: q.role, forth: true})
		agent := fmt.Sprintf("REDIRECT --to-ports %d", b.DNS.To)
		b.owners(&q, "dns: excluded", "", b.DNS.Exclude, rule{target: "RETURN"})
		q.add("dns: UDP to the agent", "-p udp "+b.leased(), agent)
		q.add("dns: TCP to the agent", "-p tcp "+b.leased(), agent)
		chains = append(chains, q)
	}
	if b.Outbound.To != 0 {
		proxy := fmt.Sprintf("REDIRECT --to-ports %d", b.Outbound.To)
		c.add("outbound: only connections that begin", notSYN, "RETURN")
		for _, p := range b.of(b.VIPs) {
			c.add(servicesRule+p.String(), "-d "+p.String()+" -p tcp", proxy)
		}
		c.add("outbound: this host's addresses and loopback go straight", "-m addrtype --dst-type LOCAL", "RETURN")
		c.prefixes("outbound: excluded destination", "-d", b.of(b.Outbound.ExcludeDestinations))
		c.ports("outbound: excluded ports", "", b.Outbound.ExcludePorts, rule{target: "RETURN"})
		c.interfaces("outbound: excluded interface", "-o", b.Outbound.ExcludeInterfaces, rule{target: "RETURN"})
		b.owners(&c, "outbound: excluded", "", b.Outbound.Exclude, rule{target: "RETURN"})
		c.add("outbound: to the proxy", "-p tcp "+b.leased(), proxy)
	}
	chains[0] = c
	return chains
}

// servicesRule begins the names of the rules by which a host's several tables
// know each other's ranges.
const servicesRule = "outbound: to the proxy, services "

// enlisted lets the proxy's and the agent's own sockets pass and sends those
// whose calls are redirected on.
func (b builder) enlisted(c *chain, kind, match, role string) {
	c.add(kind+": the proxy's calls to peers go straight", "-m mark "+b.mark(b.Marks.Outbound), "RETURN")
	c.add(kind+": the proxy's calls to workloads go straight", "-m mark "+b.mark(b.Marks.Inbound), "RETURN")
	c.add(kind+": the agent goes straight", "-m mark "+b.mark(b.Marks.Agent), "RETURN")
	b.owners(c, kind+": the proxy's", "", b.Proxy, rule{target: "RETURN"})
	then := rule{role: role, forth: true}
	if b.Outbound.Only.IsZero() {
		then.name, then.match = kind+": of everybody", match
		c.rules = append(c.rules, then)
		return
	}
	b.owners(c, kind+": of enrolled", match, b.Outbound.Only, then)
}

// leased is a condition that holds while the lease does: none without one.
func (b builder) leased() string {
	if !leased(b.Rules) {
		return ""
	}
	return "-m set --match-set " + setName(b.Table, setLease) + " dst"
}

func (b builder) mark(m uint32) string { return fmt.Sprintf("--mark %#x/%#x", m, b.Marks.Mask) }

func (b builder) of(prefixes []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(prefixes), func(p netip.Prefix) bool { return !b.family.has(p) })
}
