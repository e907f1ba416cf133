//go:build linux

package nftables

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// leaseTime is the lease of tests: as short as leases may be.
const leaseTime = time.Second

func withLease() redirect.Rules {
	r := withExclusions()
	r.FailOpen = leaseTime
	return r
}

func remaining(t *testing.T, h *testnet.Host) (left redirect.Remaining) {
	t.Helper()
	if err := h.Do(func() (err error) {
		left, err = New().Remaining(t.Context(), "")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return left
}

func renew(t *testing.T, h *testnet.Host, r redirect.Rules) error {
	t.Helper()
	return h.Do(func() error { return New().Renew(t.Context(), r) })
}

// renewerVariable makes a test program a renewer, to be killed.
const renewerVariable = "WEFT_TEST_RENEWER"

// TestRenewer is the program that TestKilledRenewerOpens starts.
func TestRenewer(t *testing.T) {
	if os.Getenv(renewerVariable) == "" {
		return
	}
	tick := time.NewTicker(leaseTime / 3)
	for {
		if err := New().Renew(t.Context(), withLease()); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(os.Stdout, "renewed")
		<-tick.C
	}
}

// startRenewer returns when the lease was renewed for the first time, and a
// function that kills it.
func startRenewer(t *testing.T, h *testnet.Host) (kill func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := h.Command(ctx, os.Args[0], "-test.run=^TestRenewer$")
	cmd.Env = append(os.Environ(), renewerVariable+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(cmd); err != nil {
		t.Fatal(err)
	}
	kill = func() { cancel(); _ = cmd.Wait() }
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if lines.Text() == "renewed" {
			go func() {
				for lines.Scan() { // keep the pipe empty
				}
			}()
			return kill
		}
	}
	kill()
	t.Fatal("the renewer ended before it renewed")
	return nil
}

// The rules hold while somebody renews the lease, and when he is killed the
// host opens as far as it should and no farther.
func TestKilledRenewerOpens(t *testing.T) {
	s := newScene(t)
	s.play(t)
	s.playDNS(t)
	install(t, s.host, withLease())
	kill := startRenewer(t, s.host)
	type flow struct {
		name         string
		call         func() string
		closed, open string
	}
	var flows []flow
	for _, f := range families {
		to := func(name string, from *testnet.Host, at netip.AddrPort, closed, open string) {
			flows = append(flows, flow{f.name + " " + name, func() string { return call(from, at) }, closed, open})
		}
		out, in, vip := f.at(s.client, 80), f.at(s.host, 8080), netip.AddrPortFrom(f.vip, 80)
		to("outbound", s.host, out, "outbound "+out.String(), "client")
		to("DNS over TCP", s.host, f.at(s.client, 53), "agent", "server")
		to("inbound", s.client, in, "inbound "+in.String(), "inbound "+in.String())
		to("service", s.host, vip, "outbound "+vip.String(), "outbound "+vip.String())
		flows = append(flows, flow{f.name + " DNS", func() string {
			return ask(t, s.host.Dial(t, "udp", f.at(s.client, 53).String()), "q")
		}, "agent q", "server q"})
	}
	rounds := 0
	for renewed := time.Now().Add(3 * leaseTime); time.Now().Before(renewed); rounds++ {
		for _, f := range flows {
			if got := f.call(); got != f.closed {
				t.Fatalf("while the lease is renewed: %s was answered by %q, want %q", f.name, got, f.closed)
			}
		}
	}
	t.Logf("%d rounds of calls under a renewed lease", rounds)

	kill()
	killed := time.Now()
	const slack = 500 * time.Millisecond
	until(t, leaseTime+slack, "open", func() bool { return flows[0].call() == flows[0].open })
	t.Logf("open %s after the renewer was killed", time.Since(killed).Round(time.Millisecond))
	for _, f := range flows {
		if got := f.call(); got != f.open {
			t.Errorf("after the lease ran out: %s was answered by %q, want %q", f.name, got, f.open)
		}
	}
	if left := remaining(t, s.host); left.FailOpen != 0 {
		t.Errorf("a lease that ran out has %s left", left.FailOpen)
	}
	if d := check(t, s.host, withLease()); len(d) > 0 {
		t.Errorf("a lease that ran out is told as %v", d)
	}

	if err := renew(t, s.host, withLease()); err != nil {
		t.Fatal(err)
	}
	if got := flows[0].call(); got != flows[0].closed {
		t.Errorf("after renewal: answered by %q, want %q", got, flows[0].closed)
	}
}

// Without a proxy an open host is open only where it may be.
func TestOpenWithoutProxy(t *testing.T) {
	s := newScene(t)
	for _, all := range []string{"0.0.0.0", "[::]"} {
		says(s.host.Listen(t, all+":8080"), "workload")
		says(s.client.Listen(t, all+":80"), "client")
	}
	install(t, s.host, withLease())
	until(t, 2*leaseTime, "open", func() bool { return remaining(t, s.host).FailOpen == 0 })
	for _, f := range families {
		for _, c := range []struct {
			name string
			from *testnet.Host
			to   netip.AddrPort
			want string
		}{
			{"inbound", s.client, f.at(s.host, 8080), refusal},
			{"outbound", s.host, f.at(s.client, 80), "client"},
			{"service", s.host, netip.AddrPortFrom(f.vip, 80), refusal},
		} {
			if got := call(c.from, c.to); got != c.want {
				t.Errorf("%s %s was answered by %q, want %q", f.name, c.name, got, c.want)
			}
		}
	}
}

// Renewal wakes nobody who watches, changes nothing that is shown and makes no
// lease where there is none.
func TestRenewal(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	for name, r := range map[string]redirect.Rules{"nothing": {}, "rules without a lease": withExclusions()} {
		if name != "nothing" {
			install(t, h, r)
		}
		if err := renew(t, h, withLease()); !errors.Is(err, redirect.ErrNotInForce) {
			t.Errorf("over %s: %v, want ErrNotInForce", name, err)
		}
		if err := renew(t, h, withExclusions()); err != nil {
			t.Errorf("nothing to renew over %s: %v", name, err)
		}
	}
	install(t, h, withLease())
	if left := remaining(t, h).FailOpen; left <= 0 || left > leaseTime {
		t.Errorf("a new lease has %s", left)
	}
	longer := withLease()
	longer.FailOpen = time.Hour
	if err := renew(t, h, longer); err != nil {
		t.Fatal(err)
	}
	if left := remaining(t, h).FailOpen; left < time.Hour-testnet.Patience {
		t.Errorf("a longer lease has %s", left)
	}
	changes := watch(t, h, longer)
	before := h.Run(t, "nft", "-s", "list", "ruleset")
	const renewals = 100
	began := time.Now()
	for range renewals {
		if err := renew(t, h, longer); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("a renewal takes %s", time.Since(began)/renewals)
	if after := h.Run(t, "nft", "-s", "list", "ruleset"); after != before {
		t.Errorf("renewals made of\n%s\nthis:\n%s", before, after)
	}
	install(t, h, longer) // the same: nothing is sent
	h.Run(t, "nft", "add", "chain", "inet", "weft", "extra")
	if c := <-changes; !strings.HasPrefix(c.By, "nft") {
		t.Errorf("a renewal was signed: %+v", c)
	}
	install(t, h, withExclusions())
	if out := h.Run(t, "nft", "list", "ruleset"); strings.Contains(out, setLease) {
		t.Errorf("without a lease there is:\n%s", out)
	}
}

func BenchmarkRenew(b *testing.B) {
	h := testnet.Hosts(b, 1)[0]
	r := withLease()
	err := h.Do(func() error {
		if err := New().Apply(b.Context(), r); err != nil {
			return err
		}
		for b.Loop() {
			if err := New().Renew(b.Context(), r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
