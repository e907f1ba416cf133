//go:build linux

package probe_test

import (
	"strings"
	"testing"
)

// rule is a shell script that finds a rule of ours by its name, as $at, and
// does something to it.
func rule(name, do string) string {
	return `at="inet weft $(nft -a list table inet weft | awk -v name="$(printf '%s' "` + name + `")" '/^\tchain /{chain=$2} index($0, "\"" name "\""){print chain, "handle", $NF; exit}')"; ` + do
}

// set is the same for the set of a role, as $set.
func set(role, do string) string {
	return `set=$(nft list sets inet | sed -n 's/.*set \(` + role + `_[0-9a-f]*\) .*/\1/p'); ` + do
}

// foreign is somebody else's table with one chain.
func foreign(family, chain, rules string) string {
	return "nft 'table " + family + " neighbour { chain theirs { type " + chain + "; " + rules + "; }; }'"
}

// Breakages, and what is to be named first.
var breakages = []struct {
	name, script string
	do           func(t *testing.T, s scene)
	want         string
}{
	// Ours.
	{name: "the table is gone", script: "nft delete table inet weft", want: "table inet weft is missing"},
	{name: "the table is switched off", script: "nft 'add table inet weft { flags dormant; }'", want: "table inet weft is switched off"},
	{name: "a flush of everything", script: "nft flush ruleset", want: "table inet weft is missing"},
	{name: "the outbound rule is missing", script: rule("outbound: to the proxy", "nft delete rule $at"),
		want: `rule "outbound: to the proxy" in chain outbound is missing`},
	{name: "the outbound rule has one family", script: rule("outbound: to the proxy", `nft replace rule $at meta nfproto ipv4 meta l4proto tcp redirect to :15001 comment '"outbound: to the proxy"'`),
		want: `rule "outbound: to the proxy" in chain outbound is changed`},
	{name: "the outbound rule has another port", script: rule("outbound: to the proxy", `nft replace rule $at meta l4proto tcp redirect to :15002 comment '"outbound: to the proxy"'`),
		want: `rule "outbound: to the proxy" in chain outbound is changed`},
	{name: "the rules' order", script: rule("outbound: proxy and agent go straight",
		`m=$(nft list sets inet | sed -n 's/.*set \(marks_[0-9a-f]*\) .*/\1/p'); nft "delete rule $at; add rule inet weft output meta mark & 0x00003000 @$m return comment \"outbound: proxy and agent go straight\""`),
		want: "in chain output is in the wrong place"},
	{name: "a rule more", script: "nft insert rule inet weft output tcp dport != 53 accept", want: `rule 1 ("") in chain output is not ours`},
	{name: "loopback is not left alone", script: rule("outbound: this host's addresses and loopback go straight", "nft delete rule $at"),
		want: `rule "outbound: this host's addresses and loopback go straight" in chain outbound is missing`},
	{name: "the way to the workload is taken", script: rule("inbound: of this host's own calls only the proxy's", "nft delete rule $at"),
		want: `rule "inbound: of this host's own calls only the proxy's" in chain inbound is missing`},
	{name: "inbound goes to another port", script: rule("inbound: to the proxy", `nft replace rule $at meta l4proto tcp tproxy to :15007 accept comment '"inbound: to the proxy"'`),
		want: `rule "inbound: to the proxy" in chain inbound is changed`},
	{name: "the listeners are open", script: "nft flush chain inet weft input", want: "in chain input is missing"},
	{name: "queries have no zone", script: "nft 'flush chain inet weft dns; delete chain inet weft dns'", want: "chain dns is missing"},
	{name: "TCP queries are let past", script: rule("dns: TCP to the agent", "nft delete rule $at"), want: `rule "dns: TCP to the agent" in chain queries is missing`},
	{name: "the set of marks lacks one", script: set("marks", "nft delete element inet weft $set '{ 0x1000 }'"), want: "set marks_"},
	{name: "the set of ports is empty", script: set("inbound_ports", "nft flush set inet weft $set"), want: "set inbound_ports_"},
	{name: "the set of services is empty", script: "nft flush set inet weft weft_vips", want: "set weft_vips is changed"},
	{name: "a user is excluded wrongly", script: set("outbound_exclude_uids", "nft add element inet weft $set '{ 0 }'"), want: "set outbound_exclude_uids_"},
	{name: "a user is not excluded", script: set("outbound_exclude_uids", "nft delete element inet weft $set '{ 4242 }'"), want: "set outbound_exclude_uids_"},
	{name: "a network is not excluded", script: set("outbound_exclude_destinations", "nft flush set inet weft $set"), want: "set outbound_exclude_destinations_"},

	// The host's.
	{name: "the IPv4 route is lost", script: "ip route del 240.0.0.0/4", want: "route 240.0.0.0/4 dev lo is missing"},
	{name: "the IPv6 route is lost", script: "ip -6 route del fd57:6566:7400::/64", want: "route fd57:6566:7400::/64 dev lo is missing"},
	{name: "a rule forbids services", script: "ip rule add to 240.0.0.0/4 prohibit priority 5", want: "a rule or route forbids it"},
	{name: "loopback is down", script: "ip link set lo down", want: "the loopback device is down"},
	{name: "the outbound listener is gone", do: func(_ *testing.T, s scene) { _ = s.proxies["127.0.0.1:15001"].Close() },
		want: "nobody listens at TCP port 15001 in IPv4, where the proxy's outbound listener should be"},
	{name: "the inbound listener is gone", do: func(_ *testing.T, s scene) { _ = s.proxies["[::]:15006"].Close() },
		want: "nobody listens at TCP port 15006 in IPv6, where the proxy's inbound listener should be"},
	{name: "the agent's DNS server is gone", do: func(_ *testing.T, s scene) { s.stopDNS() },
		want: "port 15053 in IPv4, where the agent's DNS server should be"},
	{name: "the proxy hangs", do: func(t *testing.T, s scene) {
		_ = s.proxies["127.0.0.1:15001"].Close()
		s.Listen(t, "127.0.0.1:15001")
	}, want: "nobody takes connections from the listener at 127.0.0.1:15001"},

	// Others'.
	{name: "another nat chain comes first", script: foreign("ip", "nat hook output priority -110", "ip daddr != 127.0.0.0/8 tcp dport != 53 redirect to :9999"),
		want: "of chain theirs in table ip neighbour"},
	{name: "another nat chain takes queries", script: foreign("inet", "nat hook output priority -110", `udp dport 53 redirect to :5353 comment "their resolver"`),
		want: `rule "their resolver" of chain theirs in table inet neighbour`},
	{name: "a published port comes first", script: foreign("ip", "nat hook prerouting priority -110", `tcp dport 8080 dnat to 172.17.0.2:8080 comment "published"`),
		want: `rule "published" of chain theirs in table ip neighbour`},
	{name: "a firewall drops what goes to the proxy", script: foreign("inet", "filter hook output priority 0", `tcp dport 15001 drop comment "unknown port"`),
		want: `rule "unknown port" of chain theirs in table inet neighbour: drop`},
	{name: "a firewall drops the service's port", script: foreign("inet", "filter hook input priority 0", `iif != lo tcp dport 8080 drop comment "closed"`),
		want: `rule "closed" of chain theirs in table inet neighbour: drop`},
	{name: "a firewall drops what it does not know", script: foreign("inet", "filter hook input priority 0; policy drop", "ct state established accept"),
		want: "the end of chain theirs in table inet neighbour: drop"},
	{name: "iptables drops queries", script: "iptables-nft -A OUTPUT -p udp --dport 15053 -m comment --comment 'no queries' -j DROP",
		want: `rule "no queries" of chain OUTPUT in table ip filter: drop`},
	{name: "somebody sets our mark", script: foreign("inet", "filter hook output priority -310", `meta mark set 0x1000 comment "theirs"`),
		want: `rule "theirs" of chain theirs in table inet neighbour: continue, which marks the packet 0x1000`},
	{name: "somebody tracks no connections", script: foreign("inet", "filter hook output priority -300", `tcp dport != 53 notrack comment "fast path"`),
		want: `rule "fast path" of chain theirs in table inet neighbour`},
	{name: "iptables-legacy comes first", script: "iptables-legacy -t mangle -A OUTPUT -p tcp --dport 20000:65535 -j DROP", want: "iptables-legacy"},
}

func TestBreakagesAreNamed(t *testing.T) {
	if len(breakages) < 30 {
		t.Fatalf("%d breakages", len(breakages))
	}
	for _, b := range breakages {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.apply(t, rules())
			if b.script != "" {
				s.Run(t, "sh", "-ec", b.script)
			}
			if b.do != nil {
				b.do(t, s)
			}
			r := s.probe(t, rules())
			if r.Well || len(r.Faults) == 0 || !strings.Contains(r.Faults[0].What, b.want) {
				t.Errorf("want %q named first:\n%s", b.want, text(r))
			}
			for _, f := range r.Faults {
				if f.Remedy == "" {
					t.Errorf("%s has no remedy", f.What)
				}
			}
		})
	}
}

// What others do besides, and what does no harm, is not blamed.
func TestHarmless(t *testing.T) {
	for name, script := range map[string]string{
		"strict reverse paths": "for f in all default eth0; do echo 1 > /proc/sys/net/ipv4/conf/$f/rp_filter; done",
		"a neighbour's accept": foreign("inet", "filter hook output priority -200", "tcp dport 1-65535 accept"),
		"a stateful firewall": foreign("inet", "filter hook input priority 0; policy drop",
			"ct state established,related accept; iif lo accept; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; tcp dport 8080 accept; tcp dport { 15006, 20000-65535 } accept"),
		"docker's chains":      "iptables-nft -t nat -N DOCKER; iptables-nft -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER; iptables-nft -t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER; iptables-nft -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE; iptables-nft -P FORWARD DROP",
		"somebody else's mark": foreign("inet", "filter hook output priority -310", "meta mark set meta mark or 0x4000"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.apply(t, rules())
			s.Run(t, "sh", "-ec", script)
			if r := s.probe(t, rules()); !r.Well {
				t.Errorf("not well:\n%s", text(r))
			}
		})
	}
}
