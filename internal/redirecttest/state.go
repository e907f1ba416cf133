//go:build linux

package redirecttest

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// nftNeighbours are as firewalld and kube-proxy have them.
const nftNeighbours = `
table inet firewalld {
	set peers { type ipv4_addr; flags interval; elements = { 203.0.113.0/24 } }
	chain filter_INPUT { type filter hook input priority filter + 10; policy accept; ct state { established, related } accept; ip saddr @peers counter accept; iifname "lo" accept; tcp dport { 22, 8080 } accept; }
}
table ip kube-proxy {
	chain services { meta mark & 0x00004000 == 0x00004000 return; }
}
`

// iptablesNeighbours are as Docker, ufw and kube-proxy have them. %s is an
// address in a container.
const iptablesNeighbours = `*nat
:DOCKER - [0:0]
:KUBE-SERVICES - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m addrtype --dst-type LOCAL -j DOCKER
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8081 -j DNAT --to-destination %s
-A KUBE-SERVICES -m mark --mark 0x4000/0x4000 -j RETURN
COMMIT
*filter
:ufw-before-input - [0:0]
:ufw-user-input - [0:0]
-A INPUT -j ufw-before-input
-A INPUT -j ufw-user-input
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-user-input -p tcp -m tcp --dport 22 -m comment --comment "it's \"the owner's\" door" -j ACCEPT
COMMIT
*mangle
-A PREROUTING -m comment --comment "wg-quick(8) rule" -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff
COMMIT
`

type iptablesProgram struct{ name, container string }

// iptablesPrograms are both kinds, in both families.
var iptablesPrograms = []iptablesProgram{
	{"iptables-nft", "172.17.0.2:80"}, {"ip6tables-nft", "[fd00::2]:80"},
	{"iptables-legacy", "172.17.0.2:80"}, {"ip6tables-legacy", "[fd00::2]:80"},
}

func settleNeighbours(t *testing.T, h *testnet.Host) {
	t.Helper()
	h.Pipe(t, nftNeighbours, "nft", "-f", "-")
	for _, p := range iptablesPrograms {
		h.Pipe(t, fmt.Sprintf(iptablesNeighbours, p.container), p.name+"-restore", "--noflush")
	}
}

// exact is every rule of a host, with what tells a rule from its equal written
// later.
func (u suite) exact(t *testing.T, h *testnet.Host) string {
	t.Helper()
	out := u.State(t, h) + h.Run(t, "nft", "-a", "list", "ruleset") + h.Run(t, "ip", "route") + h.Run(t, "ip", "-6", "route")
	for _, p := range iptablesPrograms[2:] {
		out += uncommented(h.Run(t, p.name+"-save"))
	}
	return out
}

// timeless leaves out what nft tells of time that is left.
func timeless(out string) string { return expires.ReplaceAllString(out, "") }

var expires = regexp.MustCompile(` expires \S+`)

var byItself = regexp.MustCompile(`(?m)^.* fe80::[0-9a-f:]*.*\n| linkdown| tentative| <[A-Z_,-]+>| state [A-Z]+`)

var counters = regexp.MustCompile(`\[\d+:\d+\]`)

func uncommented(save string) string {
	var out strings.Builder
	for l := range strings.Lines(save) {
		if !strings.HasPrefix(l, "#") {
			out.WriteString(counters.ReplaceAllString(l, "[]"))
		}
	}
	return out.String()
}

// snapshot is everything about the host that redirection could change. Tables
// of iptables that hold nothing are left out, as they cannot be unmade, and
// so are link-local addresses and the state of cables, which come by themselves.
func (u suite) snapshot(t *testing.T, h *testnet.Host) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(u.State(t, h))
	for l := range strings.Lines(h.Run(t, "nft", "list", "tables")) {
		table := strings.Fields(l)
		family, name := table[1], table[2]
		if strings.HasPrefix(family, "ip") && slices.Contains([]string{"filter", "nat", "mangle", "raw"}, name) {
			continue // iptables' own: below
		}
		fmt.Fprintf(&b, "== %s%s", l, h.Run(t, "nft", "-s", "list", "table", family, name))
	}
	for _, p := range iptablesPrograms {
		fmt.Fprintf(&b, "== %s\n", p.name)
		tables := strings.SplitAfter(uncommented(h.Run(t, p.name+"-save")), "COMMIT\n")
		slices.Sort(tables)
		for _, table := range tables {
			if strings.Contains(table, "\n-A ") || strings.Contains(table, " - []") || strings.Contains(table, " DROP []") {
				b.WriteString(table)
			}
		}
	}
	for _, cmd := range []string{
		"ip -4 rule", "ip -6 rule", "ip -4 route show table all", "ip -6 route show table all", "ip -o link", "ip -o addr",
		"cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/all/rp_filter /proc/sys/net/ipv4/conf/all/route_localnet /proc/sys/net/ipv6/conf/all/forwarding",
	} {
		words := strings.Fields(cmd)
		fmt.Fprintf(&b, "== %s\n%s", cmd, h.Run(t, words[0], words[1:]...))
	}
	return byItself.ReplaceAllString(b.String(), "")
}

func (u suite) sameRulesAgain(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	rules := withExclusions()
	u.install(t, h, rules)
	before := u.exact(t, h)
	shuffled := rules
	shuffled.Table = redirect.DefaultTable
	shuffled.Inbound.Ports = []redirect.PortRange{{First: 9005, Last: 9010}, {First: 8080, Last: 8080}, {First: 9000, Last: 9004}}
	shuffled.Outbound.Exclude.UIDs = []uint32{4000, 4242, 4000}
	for _, r := range []redirect.Rules{rules, shuffled} {
		u.install(t, h, r)
		if d := u.check(t, h, r); len(d) > 0 {
			t.Errorf("after Apply: %v", d)
		}
	}
	if diff := cmp.Diff(before, u.exact(t, h)); diff != "" {
		t.Errorf("rules that were in force were written again (-before +after):\n%s", diff)
	}
	u.install(t, h, everything())
	if u.exact(t, h) == before {
		t.Error("other rules wrote nothing")
	}
}

func (u suite) removalLeavesNothing(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	settleNeighbours(t, h)
	h.Run(t, "ip", "route", "add", "203.0.113.0/24", "dev", "lo")
	before := u.snapshot(t, h)
	u.uninstall(t, h) // nothing is there
	u.install(t, h, everything())
	u.install(t, h, withExclusions())
	if u.snapshot(t, h) == before {
		t.Fatal("Apply changed nothing")
	}
	u.uninstall(t, h)
	if diff := cmp.Diff(before, u.snapshot(t, h)); diff != "" {
		t.Errorf("the host is not what it was (-before +after):\n%s", diff)
	}
	u.uninstall(t, h)
}

// Whoever has only the host's own tools takes it off as exactly.
func (u suite) removalByHand(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	settleNeighbours(t, h)
	before := u.snapshot(t, h)
	u.install(t, h, withExclusions())
	h.Run(t, "sh", "-ec", u.script(u.ByHand))
	if diff := cmp.Diff(before, u.snapshot(t, h)); diff != "" {
		t.Errorf("the host is not what it was (-before +after):\n%s", diff)
	}
}

// What another version left, whole or in part, comes off by its name alone.
func (u suite) removalByAnotherVersion(t *testing.T) {
	for name, half := range u.halves() {
		t.Run(name, func(t *testing.T) {
			h := testnet.Hosts(t, 1)[0]
			settleNeighbours(t, h)
			before := u.snapshot(t, h)
			h.Run(t, "sh", "-ec", u.script(half))
			u.uninstall(t, h)
			if diff := cmp.Diff(before, u.snapshot(t, h)); diff != "" && !strings.HasPrefix(name, "anybody's") {
				t.Errorf("the host is not what it was (-before +after):\n%s", diff)
			}
		})
	}
}

// Neighbours' rules are the same, in the same order, while ours are in force:
// without the lines that name us, nothing is new.
func (u suite) neighboursAreLeftAlone(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	settleNeighbours(t, h)
	before := neighbourRules(t, h)
	u.install(t, h, withExclusions())
	if diff := cmp.Diff(before, neighbourRules(t, h)); diff != "" {
		t.Errorf("neighbours changed (-before +after):\n%s", diff)
	}
	if d := u.check(t, h, withExclusions()); len(d) > 0 {
		t.Errorf("beside neighbours: %v", d)
	}
	// Who comes later and goes before us, without taking anything, is no fault.
	for _, p := range iptablesPrograms[:1] {
		h.Run(t, p.name, "-t", "nat", "-I", "OUTPUT", "1", "-j", "DOCKER")
	}
	if d := u.check(t, h, withExclusions()); len(d) > 0 {
		t.Errorf("behind a later neighbour: %v", d)
	}
}

func neighbourRules(t *testing.T, h *testnet.Host) string {
	t.Helper()
	out := h.Run(t, "nft", "-s", "list", "table", "inet", "firewalld") + h.Run(t, "nft", "-s", "list", "table", "ip", "kube-proxy")
	for _, p := range iptablesPrograms {
		for l := range strings.Lines(h.Run(t, p.name+"-save")) {
			if strings.HasPrefix(l, "-A") && !strings.Contains(strings.ToLower(l), "weft") {
				out += p.name + " " + l
			}
		}
	}
	return out
}

// halves are states in which a host may be left.
func (u suite) halves() map[string]string {
	all := map[string]string{
		"routes without rules": "ip route add 240.0.0.0/4 dev lo proto 87",
		"stale routes":         "ip route add 198.18.0.0/15 dev lo proto 87",
	}
	maps.Copy(all, u.HalfDone)
	return all
}

// What an interrupted Apply or Remove leaves is mended by the next.
func (u suite) halfDoneIsMended(t *testing.T) {
	for name, half := range u.halves() {
		t.Run(name, func(t *testing.T) {
			h := testnet.Hosts(t, 1)[0]
			h.Run(t, "sh", "-ec", u.script(half))
			if d := u.check(t, h, everything()); len(d) == 0 {
				t.Error("Check saw nothing")
			}
			u.install(t, h, everything())
			if d := u.check(t, h, everything()); len(d) > 0 {
				t.Errorf("after Apply: %v", d)
			}
			u.uninstall(t, h)
			got := u.snapshot(t, h)
			if strings.Contains(strings.ToLower(got), "weft") || strings.Contains(got, "proto 87") || strings.Contains(got, "240.0.0.0/4") {
				t.Errorf("left over:\n%s", got)
			}
		})
	}
}

func (u suite) severalTables(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	a, b := everything(), everything()
	a.Table, b.Table = "weft", "weft-a-name-that-is-long-indeed"
	b.Inbound.To, b.Outbound.To, b.DNS.To = 16006, 16001, 16053
	b.VIPs = []netip.Prefix{netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("198.18.0.0/15")}
	u.install(t, h, a)
	u.install(t, h, b)
	for _, r := range []redirect.Rules{a, b} {
		if d := u.check(t, h, r); len(d) > 0 {
			t.Errorf("%s: %v", r.Table, d)
		}
	}
	routes := func() []string {
		var out []string
		for line := range strings.Lines(h.Run(t, "ip", "route") + h.Run(t, "ip", "-6", "route")) {
			if strings.Contains(line, "proto 87") {
				out = append(out, strings.Fields(line)[0])
			}
		}
		slices.Sort(out)
		return out
	}
	remove := func(r redirect.Rules) func() error {
		return func() error { return u.New().Remove(t.Context(), r.Table) }
	}
	for _, s := range []struct {
		name string
		do   func() error
		want []string
	}{
		{"a and b", func() error { return nil }, []string{"198.18.0.0/15", "240.0.0.0/4", "fd57:6566:7400::/64"}},
		{"b wants less", func() error { b.VIPs = b.VIPs[:1]; return u.New().Apply(t.Context(), b) }, []string{"240.0.0.0/4", "fd57:6566:7400::/64"}},
		{"without a", remove(a), []string{"240.0.0.0/4"}},
		{"a is gone already", remove(a), []string{"240.0.0.0/4"}},
		{"without b", remove(b), nil},
	} {
		if err := h.Do(s.do); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if got := routes(); !slices.Equal(got, s.want) {
			t.Errorf("%s: routes %q, want %q", s.name, got, s.want)
		}
	}
}

// Many entries still fit one transaction.
func (u suite) longLists(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	r := everything()
	r.Inbound.Ports = nil
	const entries = 4096
	for i := range uint32(entries) {
		// Every second /28 and /124: nothing merges.
		var v4 [4]byte
		binary.BigEndian.PutUint32(v4[:], 10<<24|i<<5)
		var v6 [16]byte
		v6[0] = 0xfd
		binary.BigEndian.PutUint32(v6[12:], i<<5)
		p4, p6 := netip.PrefixFrom(netip.AddrFrom4(v4), 28), netip.PrefixFrom(netip.AddrFrom16(v6), 124)
		if i%2 == 0 {
			p4, p6 = p6, p4
		}
		r.Outbound.ExcludeDestinations = append(r.Outbound.ExcludeDestinations, p4)
		r.Inbound.ExcludeSources = append(r.Inbound.ExcludeSources, p6)
		r.Outbound.Exclude.UIDs = append(r.Outbound.Exclude.UIDs, 100000+i)
		r.DNS.Exclude.UIDs = append(r.DNS.Exclude.UIDs, 200000+i)
		ports := redirect.PortRange{First: uint16(20000 + 2*i), Last: uint16(20000 + 2*i)}
		r.Inbound.Ports = append(r.Inbound.Ports, ports)
		r.Outbound.ExcludePorts = append(r.Outbound.ExcludePorts, ports)
	}
	for what, rules := range map[string]redirect.Rules{"long": r, "short": everything()} {
		u.install(t, h, rules)
		if d := u.check(t, h, rules); len(d) > 0 {
			t.Errorf("after Apply of %s lists: %v", what, d[:min(len(d), 5)])
		}
	}
}

// Ranges at both ends of a space have no neighbour beyond.
func (u suite) rangesAtTheEnds(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	r := everything()
	r.VIPs = nil
	r.Outbound.ExcludeDestinations = []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("255.255.255.255/32"), netip.MustParsePrefix("::/0")}
	r.Inbound.ExcludeSources = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	r.Outbound.ExcludePorts = []redirect.PortRange{{First: 1, Last: 1}, {First: 65535, Last: 65535}}
	r.Inbound.Ports = []redirect.PortRange{{First: 1, Last: 15000}, {First: 15054, Last: 65535}}
	u.install(t, h, r)
	if d := u.check(t, h, r); len(d) > 0 {
		t.Errorf("after Apply: %v", d)
	}
}
