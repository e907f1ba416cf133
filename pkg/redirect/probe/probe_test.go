//go:build linux

package probe_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/agent/dns"
	"github.com/weft-mesh/weft/pkg/proxy"
	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/nftables"
	"github.com/weft-mesh/weft/pkg/redirect/probe"
)

func TestMain(m *testing.M) {
	if was, code := probe.Child(); was {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

const (
	inboundPort  = 15006
	outboundPort = 15001
	agentDNS     = 15053
)

// rules have an entry in every list that can be played on a test's host.
func rules() redirect.Rules {
	prefix := netip.MustParsePrefix
	return redirect.Rules{
		Marks:   redirect.Marks{Mask: proxy.MarkMask, Outbound: proxy.MarkOutbound, Inbound: proxy.MarkInbound, Agent: proxy.MarkAgent},
		Inbound: redirect.Inbound{To: inboundPort, Ports: []redirect.PortRange{{First: 8080, Last: 8080}}, ExcludeSources: []netip.Prefix{prefix("10.9.0.0/16")}},
		Outbound: redirect.Outbound{To: outboundPort, Exclude: redirect.Owners{UIDs: []uint32{4242}},
			ExcludePorts: []redirect.PortRange{{First: 25, Last: 25}}, ExcludeDestinations: []netip.Prefix{prefix("198.51.100.12/32"), prefix("2001:db8:57::c/128")}},
		DNS:  redirect.DNS{To: agentDNS, Exclude: redirect.Owners{UIDs: []uint32{4353}}},
		VIPs: []netip.Prefix{proxy.VIP4, proxy.VIP6},
	}
}

// A scene is a host with a proxy that says nothing, a workload and the agent's
// real DNS server.
type scene struct {
	*testnet.Host
	proxies map[string]*testnet.Listener // by address
	stopDNS func()
}

func newScene(t *testing.T) scene {
	t.Helper()
	s := scene{Host: testnet.Hosts(t, 1)[0], proxies: make(map[string]*testnet.Listener)}
	silent := func(l *testnet.Listener) *testnet.Listener {
		go func() {
			for {
				c, err := l.TCPListener.Accept()
				if err != nil {
					return
				}
				t.Cleanup(func() { _ = c.Close() })
			}
		}()
		return l
	}
	for _, at := range []string{"0.0.0.0:15006", "[::]:15006"} {
		s.proxies[at] = silent(s.Listen(t, at, testnet.Transparent()))
	}
	for _, at := range []string{"127.0.0.1:15001", "[::1]:15001"} {
		s.proxies[at] = silent(s.Listen(t, at))
	}
	for _, at := range []string{"0.0.0.0:8080", "[::]:8080"} {
		silent(s.Listen(t, at))
	}
	s.stopDNS = s.startDNS(t)
	return s
}

func (s scene) startDNS(t *testing.T) (stop func()) {
	t.Helper()
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolv, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	server := dns.New(dns.Config{Mark: proxy.MarkAgent, ResolvConf: resolv})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Do(func() error { return server.Run(ctx) }) }()
	select {
	case <-server.Ready():
	case err := <-done:
		t.Fatal(err)
	}
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		done <- nil
	}
	t.Cleanup(stop)
	return stop
}

func (s scene) apply(t *testing.T, r redirect.Rules) {
	t.Helper()
	if err := s.Do(func() error { return nftables.New().Apply(t.Context(), r) }); err != nil {
		t.Fatal(err)
	}
}

func (s scene) probe(t *testing.T, r redirect.Rules, change ...func(*probe.Prober)) (report probe.Report) {
	t.Helper()
	p := probe.Prober{Rules: r, Domain: proxy.Domain, Engine: nftables.New(), Tracer: nftables.Tracer{}}
	for _, c := range change {
		c(&p)
	}
	if err := s.Do(func() (err error) {
		report, err = p.Run(t.Context())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return report
}

func text(r probe.Report) string {
	var b strings.Builder
	for _, f := range r.Faults {
		fmt.Fprintf(&b, "FAULT %s (%s): %q\n", f.What, f.Remedy, f.Probes)
	}
	for _, x := range r.Results {
		fmt.Fprintf(&b, "%t %s (%s): want %s, got %s; skipped: %s\n", x.OK, x.Name, x.Flow, x.Want.Verdict, x.Got, x.Skipped)
		for _, h := range x.Hops {
			fmt.Fprintf(&b, "\t%s %s\n", h, h.To)
		}
	}
	fmt.Fprintln(&b, r.Notes)
	return b.String()
}

// On a host that is as it should be every probe arrives, and nothing is left.
func TestWell(t *testing.T) {
	s := newScene(t)
	s.apply(t, rules())
	state := func() string {
		return strings.ReplaceAll(s.Run(t, "sh", "-c", "nft list ruleset; ip addr; ip route; ip -6 route; ip rule"), " tentative", "")
	}
	before := state()
	report := s.probe(t, rules())
	if !report.Well {
		t.Errorf("not well:\n%s", text(report))
	}
	if after := state(); after != before {
		t.Errorf("the host was\n%s\nis\n%s", before, after)
	}
	sent := 0
	for _, x := range report.Results {
		if x.Skipped == "" {
			sent++
		} else if !strings.Contains(x.Name, "excluded source") {
			t.Errorf("%s was not sent: %s", x.Name, x.Skipped)
		}
	}
	if sent < 60 {
		t.Errorf("only %d probes were sent", sent)
	}
}
