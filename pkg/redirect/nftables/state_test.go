//go:build linux

package nftables

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// neighbours are tables as Docker, ufw, firewalld and kube-proxy have them.
const neighbours = `
table ip nat {
	chain DOCKER { iifname "docker0" return; tcp dport 8081 dnat to 172.17.0.2:80; }
	chain PREROUTING { type nat hook prerouting priority dstnat; policy accept; fib daddr type local jump DOCKER; }
	chain POSTROUTING { type nat hook postrouting priority srcnat; policy accept; oifname != "docker0" ip saddr 172.17.0.0/16 masquerade; }
	chain OUTPUT { type nat hook output priority -100; policy accept; ip daddr != 127.0.0.0/8 fib daddr type local jump DOCKER; }
}
table inet firewalld {
	chain filter_INPUT { type filter hook input priority filter + 10; policy accept; ct state { established, related } accept; iifname "lo" accept; tcp dport { 22, 8080 } accept; }
}
table ip filter {
	set peers { type ipv4_addr; flags interval; elements = { 203.0.113.0/24 } }
	chain ufw-user-input { ip saddr @peers counter accept; }
	chain INPUT { type filter hook input priority filter; policy accept; jump ufw-user-input; }
}
table ip kube-proxy {
	chain services { meta mark & 0x00004000 == 0x00004000 return; }
}
`

func TestSameRulesAgainWriteNothing(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	rules := withExclusions()
	install(t, h, rules)
	before, routes := generation(t, h), h.Run(t, "ip", "route")
	shuffled := rules
	shuffled.Table = redirect.DefaultTable
	shuffled.Inbound.Ports = []redirect.PortRange{{First: 9005, Last: 9010}, {First: 8080, Last: 8080}, {First: 9000, Last: 9004}}
	shuffled.Outbound.Exclude.UIDs = []uint32{4000, 4242, 4000}
	for _, r := range []redirect.Rules{rules, shuffled} {
		install(t, h, r)
		if d := check(t, h, r); len(d) > 0 {
			t.Errorf("after Apply: %v", d)
		}
	}
	if after := generation(t, h); after != before {
		t.Errorf("%d transactions were sent for rules that were in force", after-before)
	}
	if after := h.Run(t, "ip", "route"); after != routes {
		t.Errorf("routes became\n%s, were\n%s", after, routes)
	}
	other := everything()
	install(t, h, other)
	if after := generation(t, h); after == before {
		t.Error("other rules took no transaction")
	}
}

func TestRemoveLeavesNothing(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	h.Pipe(t, neighbours, "nft", "-f", "-")
	h.Run(t, "ip", "route", "add", "203.0.113.0/24", "dev", "lo")
	before := snapshot(t, h)
	uninstall(t, h) // nothing is there
	install(t, h, everything())
	install(t, h, withExclusions())
	if snapshot(t, h) == before {
		t.Fatal("Apply changed nothing")
	}
	uninstall(t, h)
	if diff := cmp.Diff(before, snapshot(t, h)); diff != "" {
		t.Errorf("the host is not what it was (-before +after):\n%s", diff)
	}
	uninstall(t, h)
}

// Neighbours' tables are byte for byte the same while ours is in force.
func TestNeighboursAreLeftAlone(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	h.Pipe(t, neighbours, "nft", "-f", "-")
	list := func() (out string) {
		for _, table := range []string{"ip nat", "inet firewalld", "ip filter", "ip kube-proxy"} {
			out += h.Run(t, "nft", append([]string{"-j", "list", "table"}, strings.Fields(table)...)...)
		}
		return out
	}
	before := list()
	install(t, h, withExclusions())
	if after := list(); after != before {
		t.Errorf("neighbours became\n%s, were\n%s", after, before)
	}
	if d := check(t, h, withExclusions()); len(d) > 0 {
		t.Errorf("beside neighbours: %v", d)
	}
}

// What an interrupted Apply or Remove leaves is mended by the next.
func TestHalfDoneIsMended(t *testing.T) {
	for name, half := range map[string]string{
		"routes without a table": "ip route add 240.0.0.0/4 dev lo proto 87",
		"another version's table": `nft 'add table inet weft; add set inet weft weft_vips { type ipv4_addr; flags interval; };
			add set inet weft weft_vips6 { type ipv6_addr; flags interval; }; add set inet weft marks { type inet_service; };
			add chain inet weft prerouting { type filter hook prerouting priority 5; }; add chain inet weft extra; add rule inet weft extra counter;
			add chain inet weft output { type filter hook output priority 0; policy drop; }; add rule inet weft output tcp dport @marks jump extra'`,
		"an empty table":  "nft add table inet weft",
		"a dormant table": `nft 'add table inet weft { flags dormant; }'`,
		"stale routes":    "ip route add 198.18.0.0/15 dev lo proto 87",
	} {
		t.Run(name, func(t *testing.T) {
			h := testnet.Hosts(t, 1)[0]
			h.Run(t, "sh", "-c", half)
			if d := check(t, h, everything()); len(d) == 0 {
				t.Error("Check saw nothing")
			}
			install(t, h, everything())
			if d := check(t, h, everything()); len(d) > 0 {
				t.Errorf("after Apply: %v", d)
			}
			clean := snapshot(t, testnet.Hosts(t, 1)[0])
			uninstall(t, h)
			got := snapshot(t, h)
			if strings.Contains(got, "weft") || strings.Contains(got, "proto 87") || strings.Contains(got, "240.0.0.0/4") {
				t.Errorf("left over:\n%s\nwant\n%s", got, clean)
			}
		})
	}
}

func TestSeveralTablesShareAHost(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	a, b := everything(), everything()
	a.Table, b.Table = "weft-a", "weft-b"
	b.Inbound.To, b.Outbound.To, b.DNS.To = 16006, 16001, 16053
	b.VIPs = []netip.Prefix{netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("198.18.0.0/15")}
	install(t, h, a)
	install(t, h, b)
	for _, r := range []redirect.Rules{a, b} {
		if d := check(t, h, r); len(d) > 0 {
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
	steps := []struct {
		name string
		do   func() error
		want []string
	}{
		{"a and b", func() error { return nil }, []string{"198.18.0.0/15", "240.0.0.0/4", "fd57:6566:7400::/64"}},
		{"b wants less", func() error { b.VIPs = b.VIPs[:1]; return New().Apply(t.Context(), b) }, []string{"240.0.0.0/4", "fd57:6566:7400::/64"}},
		{"without a", func() error { return New().Remove(t.Context(), "weft-a") }, []string{"240.0.0.0/4"}},
		{"a is gone already", func() error { return New().Remove(t.Context(), "weft-a") }, []string{"240.0.0.0/4"}},
		{"without b", func() error { return New().Remove(t.Context(), "weft-b") }, nil},
	}
	for _, s := range steps {
		if err := h.Do(s.do); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if got := routes(); !slices.Equal(got, s.want) {
			t.Errorf("%s: routes %q, want %q", s.name, got, s.want)
		}
	}
}

// Many entries still fit one transaction.
func TestLongLists(t *testing.T) {
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
			r.Outbound.ExcludeDestinations = append(r.Outbound.ExcludeDestinations, p4)
			r.Inbound.ExcludeSources = append(r.Inbound.ExcludeSources, p6)
		} else {
			r.Outbound.ExcludeDestinations = append(r.Outbound.ExcludeDestinations, p6)
			r.Inbound.ExcludeSources = append(r.Inbound.ExcludeSources, p4)
		}
		r.Outbound.Exclude.UIDs = append(r.Outbound.Exclude.UIDs, 100000+i)
		r.DNS.Exclude.UIDs = append(r.DNS.Exclude.UIDs, 200000+i)
		r.Inbound.Ports = append(r.Inbound.Ports, redirect.PortRange{First: uint16(20000 + 2*i), Last: uint16(20000 + 2*i)})
		r.Outbound.ExcludePorts = append(r.Outbound.ExcludePorts, redirect.PortRange{First: uint16(20000 + 2*i), Last: uint16(20000 + 2*i)})
	}
	install(t, h, r)
	if d := check(t, h, r); len(d) > 0 {
		t.Errorf("after Apply: %v", d)
	}
	install(t, h, everything())
	if d := check(t, h, everything()); len(d) > 0 {
		t.Errorf("after a smaller Apply: %v", d)
	}
}

// Ranges at both ends of a space have no neighbour beyond.
func TestRangesAtTheEnds(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	r := everything()
	r.VIPs = nil
	r.Outbound.ExcludeDestinations = []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("255.255.255.255/32"), netip.MustParsePrefix("::/0")}
	r.Outbound.ExcludePorts = []redirect.PortRange{{First: 1, Last: 1}, {First: 65535, Last: 65535}}
	r.Inbound.Ports = []redirect.PortRange{{First: 1, Last: 15000}, {First: 15054, Last: 65535}}
	install(t, h, r)
	if d := check(t, h, r); len(d) > 0 {
		t.Errorf("after Apply: %v", d)
	}
	text, err := New().Describe(r)
	if err != nil {
		t.Fatal(err)
	}
	other := testnet.Hosts(t, 1)[0]
	other.Pipe(t, text, "nft", "-f", "-")
	if d := check(t, other, r); len(d) > 0 {
		t.Errorf("after nft -f: %v", d)
	}
}

func TestSetsTellTheirPrefixes(t *testing.T) {
	for _, want := range [][]netip.Prefix{
		nil,
		{netip.MustParsePrefix("240.0.0.0/4")},
		{netip.MustParsePrefix("10.0.0.0/9"), netip.MustParsePrefix("10.128.0.0/10"), netip.MustParsePrefix("192.0.2.1/32")},
		{netip.MustParsePrefix("fd57:6566:7400::/64"), netip.MustParsePrefix("fe00::/7")},
	} {
		k := typeIP
		if len(want) > 0 && want[0].Addr().Is6() {
			k = typeIP6
		}
		if got := prefixSet("s", want, k).prefixes(); !slices.Equal(got, want) {
			t.Errorf("a set of %v tells %v", want, got)
		}
	}
}
