//go:build linux

package nftables

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
)

const (
	inboundPort  = 15006
	outboundPort = 15001
	agentDNS     = 15053

	markMask     = 0x3000
	markOutbound = 0x1000
	markInbound  = 0x2000
	markAgent    = 0x3000
)

var (
	vip4 = netip.MustParseAddr("240.1.2.3")
	vip6 = netip.MustParseAddr("fd57:6566:7400::5")
)

// everything redirects ports 8080 and 9000-9010, all outbound and DNS.
func everything() redirect.Rules {
	return redirect.Rules{
		Marks:    redirect.Marks{Mask: markMask, Outbound: markOutbound, Inbound: markInbound, Agent: markAgent},
		Inbound:  redirect.Inbound{To: inboundPort, Ports: []redirect.PortRange{{First: 8080, Last: 8080}, {First: 9000, Last: 9010}}},
		Outbound: redirect.Outbound{To: outboundPort},
		DNS:      redirect.DNS{To: agentDNS},
		VIPs:     []netip.Prefix{netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("fd57:6566:7400::/64")},
	}
}

// withExclusions has an entry in every list.
func withExclusions() redirect.Rules {
	r := everything()
	r.Inbound.ExcludeSources = []netip.Prefix{netip.MustParsePrefix("198.51.100.12/32"), netip.MustParsePrefix("2001:db8:57::c/128")}
	r.Outbound.ExcludePorts = []redirect.PortRange{{First: 25, Last: 25}, {First: 9443, Last: 9450}}
	r.Outbound.ExcludeDestinations = []netip.Prefix{netip.MustParsePrefix("198.51.100.12/32"), netip.MustParsePrefix("2001:db8:57::c/128"), netip.MustParsePrefix("10.0.0.0/8")}
	r.Outbound.Exclude.UIDs = []uint32{4242, 4000}
	r.DNS.Exclude.UIDs = []uint32{4353}
	return r
}

func install(t *testing.T, h *testnet.Host, r redirect.Rules) {
	t.Helper()
	testnet.SkipIfUnsupported(t, h.Do(func() error { return New().Apply(t.Context(), r) }))
}

func check(t *testing.T, h *testnet.Host, r redirect.Rules) []redirect.Difference {
	t.Helper()
	var d []redirect.Difference
	if err := h.Do(func() (err error) {
		d, err = New().Check(t.Context(), r)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return d
}

func uninstall(t *testing.T, h *testnet.Host) {
	t.Helper()
	if err := h.Do(func() error { return New().Remove(t.Context(), "") }); err != nil {
		t.Fatal(err)
	}
}

// generation counts the transactions of the host's tables: it stays where
// nothing was written.
func generation(t *testing.T, h *testnet.Host) (id uint32) {
	t.Helper()
	if err := h.Do(func() error {
		r, err := openReader()
		if err != nil {
			return err
		}
		defer r.close()
		id, err = r.generation()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return id
}

// snapshot is everything about the host that redirection could change.
func snapshot(t *testing.T, h *testnet.Host) string {
	t.Helper()
	var b strings.Builder
	for _, cmd := range []string{
		"nft -s list ruleset",
		"ip -4 rule", "ip -6 rule", "ip -4 route show table all", "ip -6 route show table all",
		"ip -o link", "ip -o addr",
		"cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/all/rp_filter /proc/sys/net/ipv4/conf/all/route_localnet /proc/sys/net/ipv6/conf/all/forwarding",
	} {
		words := strings.Fields(cmd)
		fmt.Fprintf(&b, "== %s\n%s", cmd, h.Run(t, words[0], words[1:]...))
	}
	return b.String()
}
