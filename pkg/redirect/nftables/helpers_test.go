//go:build linux

package nftables

import (
	"net/netip"
	"testing"

	"github.com/weft-mesh/weft/internal/redirecttest"
	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
)

func everything() redirect.Rules     { return redirecttest.Everything() }
func withExclusions() redirect.Rules { return redirecttest.Broken() }

// everyWord has an entry in every list.
func everyWord() redirect.Rules {
	r := withExclusions()
	some := redirect.Owners{UIDs: []uint32{1337}, GIDs: []uint32{1338, 1339}, Cgroups: []string{"system.slice/weft-a.service", "weft.slice"}}
	r.Proxy, r.Outbound.Only, r.Outbound.Exclude, r.DNS.Exclude = some, some, some, some
	r.Outbound.Exclude = redirect.Owners{UIDs: []uint32{4242}, GIDs: []uint32{4243}, Cgroups: []string{"system.slice/weft-a.service/worker"}}
	r.Inbound.Ports, r.Inbound.All = nil, true
	r.Inbound.ExcludePorts = []redirect.PortRange{{First: 22, Last: 22}, {First: 15000, Last: 15010}}
	r.Inbound.ExcludeInterfaces = []string{"docker*", "tun0"}
	r.Outbound.Forwarded = []string{"br-*", "docker0"}
	r.Outbound.ExcludeInterfaces = []string{"eth1", "wg*"}
	return r
}

// rewriting is of the other method, with a list of ports.
func rewriting() redirect.Rules {
	r := everyWord()
	r.Inbound = redirect.Inbound{To: r.Inbound.To, Method: redirect.Rewrite, Ports: everything().Inbound.Ports,
		ExcludeSources: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, ExcludeInterfaces: []string{"lan0"}}
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
