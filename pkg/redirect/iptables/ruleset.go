//go:build linux

package iptables

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

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

// A section is what we want in one iptables table: chains of ours, of which
// the first is jumped to from a built-in one.
type section struct {
	table  string
	hook   string // the built-in chain
	only   string // which packets jump
	chains []chain
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
}

// dnsZone is the conntrack zone of redirected queries: "we" in ASCII, the same
// as the nftables engine's.
const dnsZone = 0x7765

// portsPerRule is how many ports the multiport match takes; a range counts as
// two. Source: XT_MULTI_PORTS in include/uapi/linux/netfilter/xt_multiport.h.
const portsPerRule = 15

const (
	flagsAll = "FIN,SYN,RST,ACK"
	isSYN    = "--tcp-flags " + flagsAll + " SYN"
	isACK    = "--tcp-flags " + flagsAll + " ACK"
)

// build makes the sections of normal rules for one family: pure data, in the
// order in which they are put in force.
func build(r redirect.Rules, f family) []section {
	b := builder{r, f}
	var out []section
	if r.Inbound.To != 0 || r.Outbound.To != 0 {
		out = append(out, section{"filter", "INPUT", "-p tcp", []chain{b.input()}})
	}
	if r.DNS.To != 0 {
		out = append(out, section{"raw", "OUTPUT", "-p udp", []chain{b.dns()}})
	}
	if r.Inbound.To != 0 && len(r.Inbound.Ports) > 0 {
		out = append(out, section{"mangle", "PREROUTING", "-p tcp", []chain{b.prerouting(), b.inbound()}})
	}
	if r.Outbound.To != 0 || r.DNS.To != 0 {
		out = append(out, section{"nat", "OUTPUT", "", []chain{b.output()}})
	}
	return out
}

type builder struct {
	redirect.Rules
	family family
}

// prerouting asks every packet for its port only, and what is enrolled goes on
// to chain inbound.
func (b builder) prerouting() chain {
	c := chain{role: "prerouting"}
	c.ports("inbound: enrolled ports", b.Inbound.Ports, rule{role: "inbound"})
	return c
}

func (b builder) inbound() chain {
	c := chain{role: "inbound"}
	proxy := fmt.Sprintf("TPROXY --on-port %d", b.Inbound.To)
	c.add("inbound: forwarded traffic is not ours", "-m addrtype ! --dst-type LOCAL", "RETURN")
	c.add("inbound: of this host's own calls only the proxy's", "-i lo -m mark ! "+b.mark(b.Marks.Outbound), "RETURN")
	c.prefixes("inbound: excluded source", "-s", b.of(b.Inbound.ExcludeSources))
	c.add("inbound: to the proxy", "-p tcp -m tcp "+isSYN, proxy)
	c.add("inbound: connections find their sockets", "-m socket", "RETURN")
	c.add("inbound: answers to SYN cookies to the proxy", "-p tcp -m tcp "+isACK, proxy)
	return c
}

// dns gives redirected queries and their answers the same zone. Its conditions
// on queries are those of chain output. Answers come first: the agent may mark
// the socket that it answers from.
func (b builder) dns() chain {
	c := chain{role: "dns"}
	zone := fmt.Sprintf("CT --zone %d", dnsZone)
	c.add("dns: answers of the agent", fmt.Sprintf("-o lo -p udp -m udp --sport %d", b.DNS.To), zone)
	c.add("dns: queries to the agent itself", fmt.Sprintf("-o lo -p udp -m udp --dport %d", b.DNS.To), zone)
	b.straight(&c, "dns")
	c.users("dns: excluded user", "", b.DNS.Exclude.UIDs)
	c.add("dns: redirected queries", "-p udp -m udp --dport 53", zone)
	return c
}

// output redirects connections by their first packet. NAT chains see only what
// conntrack takes for new, and that includes the next packet of a connection
// from before conntrack ran, hence the look at the flags.
func (b builder) output() chain {
	c := chain{role: "output"}
	b.straight(&c, "outbound")
	if b.DNS.To != 0 {
		agent := fmt.Sprintf("REDIRECT --to-ports %d", b.DNS.To)
		c.users("dns: excluded user over UDP", "-p udp -m udp --dport 53 ", b.DNS.Exclude.UIDs)
		c.users("dns: excluded user over TCP", "-p tcp -m tcp --dport 53 ", b.DNS.Exclude.UIDs)
		c.add("dns: UDP to the agent", "-p udp -m udp --dport 53", agent)
		c.add("dns: TCP to the agent", "-p tcp -m tcp --dport 53 "+isSYN, agent)
	}
	if b.Outbound.To == 0 {
		return c
	}
	proxy := fmt.Sprintf("REDIRECT --to-ports %d", b.Outbound.To)
	c.add("outbound: only connections that begin", "-p tcp -m tcp ! "+isSYN, "RETURN")
	for _, p := range b.of(b.VIPs) {
		c.add(servicesRule+p.String(), "-d "+p.String()+" -p tcp", proxy)
	}
	c.add("outbound: this host's addresses and loopback go straight", "-m addrtype --dst-type LOCAL", "RETURN")
	c.prefixes("outbound: excluded destination", "-d", b.of(b.Outbound.ExcludeDestinations))
	c.ports("outbound: excluded ports", b.Outbound.ExcludePorts, rule{target: "RETURN"})
	c.users("outbound: excluded user", "", b.Outbound.Exclude.UIDs)
	c.add("outbound: to the proxy", "-p tcp", proxy)
	return c
}

// servicesRule begins the names of the rules by which a host's several tables
// know each other's ranges.
const servicesRule = "outbound: to the proxy, services "

// input refuses who calls the proxy's listeners directly. TPROXY leaves the
// port as it was, so whatever still has the inbound listener's port here was
// sent to it; REDIRECT leaves its trace in conntrack.
func (b builder) input() chain {
	c := chain{role: "input"}
	const reset = "REJECT --reject-with tcp-reset"
	to := func(port uint16) string { return fmt.Sprintf("-p tcp -m tcp --dport %d %s", port, isSYN) }
	if b.Inbound.To != 0 {
		c.add("input: the inbound listener is not called directly", to(b.Inbound.To), reset)
	}
	if b.Outbound.To != 0 {
		c.add("input: the outbound listener is not called directly", to(b.Outbound.To)+" -m conntrack ! --ctstate DNAT", reset)
	}
	return c
}

// straight lets the proxy's and the agent's own sockets pass.
func (b builder) straight(c *chain, kind string) {
	c.add(kind+": the proxy's calls to peers go straight", "-m mark "+b.mark(b.Marks.Outbound), "RETURN")
	c.add(kind+": the proxy's calls to workloads go straight", "-m mark "+b.mark(b.Marks.Inbound), "RETURN")
	c.add(kind+": the agent goes straight", "-m mark "+b.mark(b.Marks.Agent), "RETURN")
}

func (b builder) mark(m uint32) string { return fmt.Sprintf("--mark %#x/%#x", m, b.Marks.Mask) }

func (b builder) of(prefixes []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(prefixes), func(p netip.Prefix) bool { return !b.family.has(p) })
}

func (c *chain) add(name, match, target string) {
	c.rules = append(c.rules, rule{name: name, match: match, target: target})
}

func (c *chain) prefixes(name, option string, prefixes []netip.Prefix) {
	for _, p := range prefixes {
		c.add(name+" "+p.String(), option+" "+p.String(), "RETURN")
	}
}

func (c *chain) users(name, match string, uids []uint32) {
	for _, uid := range uids {
		c.add(fmt.Sprintf("%s %d", name, uid), fmt.Sprintf("%s-m owner --uid-owner %d", match, uid), "RETURN")
	}
}

// ports adds as many rules as the list takes.
func (c *chain) ports(name string, ports []redirect.PortRange, then rule) {
	var lists [][]string
	room := 0
	for _, p := range ports {
		text, takes := fmt.Sprint(p.First), 1
		if p.First != p.Last {
			text, takes = fmt.Sprintf("%d:%d", p.First, p.Last), 2
		}
		if takes > room {
			lists, room = append(lists, nil), portsPerRule
		}
		lists[len(lists)-1] = append(lists[len(lists)-1], text)
		room -= takes
	}
	for i, list := range lists {
		then.name, then.match = name, "-p tcp -m multiport --dports "+strings.Join(list, ",")
		if i > 0 {
			then.name = fmt.Sprintf("%s (%d)", name, i+1)
		}
		c.rules = append(c.rules, then)
	}
}
