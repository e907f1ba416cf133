//go:build linux

package redirecttest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/internal/testtime"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// leaseTime is the lease of tests. It is renewed five times as often.
const leaseTime = 2 * time.Second

func withLease() redirect.Rules {
	r := withExclusions()
	r.FailOpen = leaseTime
	return r
}

// leases tells whether the engine does, which it does unless it refuses to.
func (u suite) leases(t *testing.T) bool {
	t.Helper()
	if _, ok := u.New().(redirect.Leaser); ok {
		return true
	}
	h := testnet.Hosts(t, 1)[0]
	onTrial := everything()
	onTrial.ConfirmWithin = time.Minute
	for what, r := range map[string]redirect.Rules{"a lease": withLease(), "a trial": onTrial} {
		if !u.refuses(t, h, r) {
			t.Errorf("the engine renews nothing and takes %s", what)
		}
	}
	return false
}

func (u suite) remaining(t *testing.T, h *testnet.Host) (left redirect.Remaining) {
	t.Helper()
	if err := h.Do(func() (err error) {
		left, err = u.New().(redirect.Leaser).Remaining(t.Context(), "")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return left
}

func (u suite) renew(t *testing.T, h *testnet.Host, r redirect.Rules) error {
	t.Helper()
	return h.Do(func() error { return u.New().(redirect.Leaser).Renew(t.Context(), r) })
}

// startRenewer returns when the lease was renewed for the first time, and a
// function that kills who does it.
func (u suite) startRenewer(t *testing.T, h *testnet.Host, r redirect.Rules) (kill func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := u.child(ctx, t, h, "renew", textOf(t, r))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(cmd); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		cancel()
		t.Fatalf("the renewer ended before it renewed: %v", cmd.Wait())
	}
	go func() {
		for lines.Scan() { // keep the pipe empty
		}
	}()
	return func() { cancel(); _ = cmd.Wait() }
}

// A phased flow is answered by others in one phase than in another.
type phased struct {
	flow
	then string
}

// flowsInPhases are the kinds of traffic under rules and, where it matters,
// without: closed and open, on trial and after.
func (s scene) flowsInPhases(inboundThen func(in netip.AddrPort) string) []phased {
	var out []phased
	for _, f := range families {
		call, in, dns, vip := f.at(s.client, 80), f.at(s.host, 8080), f.at(s.client, 53), netip.AddrPortFrom(f.vip, 80)
		out = append(out,
			phased{flow{name: f.name + "/outbound", from: s.host, to: call, want: "outbound " + call.String()}, "client"},
			phased{flow{name: f.name + "/DNS", from: s.host, udp: true, to: dns, want: "agent q"}, "server q"},
			phased{flow{name: f.name + "/DNS over TCP", from: s.host, to: dns, want: "agent"}, "server"},
			phased{flow{name: f.name + "/inbound", from: s.client, to: in, want: "inbound " + in.String()}, inboundThen(in)},
			phased{flow{name: f.name + "/sshd", from: s.client, to: f.at(s.host, 22), want: "sshd"}, "sshd"},
		)
		if inboundThen(in) != "workload" { // a trial that is over leaves services without anybody
			out = append(out, phased{flow{name: f.name + "/service", from: s.host, to: vip, want: "outbound " + vip.String()}, "outbound " + vip.String()})
		}
	}
	return out
}

func tryAll(t *testing.T, when string, flows []phased, then bool) {
	t.Helper()
	if said := amiss(when, flows, then); said != "" {
		t.Error(said)
	}
}

// amiss tells which flows are not answered by whom they should be, or "".
func amiss(when string, flows []phased, then bool) string {
	var said []string
	for _, f := range flows {
		if then {
			f.want = f.then
		}
		if got := f.answer(); got != f.want {
			said = append(said, fmt.Sprintf("%s: %s: %s was answered by %q, want %q", when, f.name, f.to, got, f.want))
		}
	}
	return strings.Join(said, "\n")
}

// The rules hold while somebody renews the lease, and when he is killed the
// host opens as far as it should and no farther.
func (u suite) lease(t *testing.T) {
	if !u.leases(t) {
		return
	}
	s := newScene(t)
	s.play(t)
	s.playDNS(t)
	u.install(t, s.host, withLease())
	kill := u.startRenewer(t, s.host, withLease())
	flows := s.flowsInPhases(func(in netip.AddrPort) string { return "inbound " + in.String() })
	for watch, again := testtime.Start(t), 0; watch.Took() < 2*leaseTime && !t.Failed(); {
		said := amiss("while the lease is renewed", flows, false)
		if said != "" && watch.Stood() > leaseTime/4 && again < 5 { // the renewer stood still, too
			t.Logf("again, as nothing ran for %s: %s", watch.Stood(), said)
			again++
			watch = testtime.Start(t)
		} else if said != "" {
			t.Error(said)
		}
	}
	kill()
	killed := time.Now()
	until(t, leaseTime+mendTime+testnet.Patience, func() string {
		if got := flows[0].answer(); got != flows[0].then {
			return "answered by " + got
		}
		return ""
	})
	t.Logf("open %s after the renewer was killed", time.Since(killed).Round(time.Millisecond))
	tryAll(t, "after the lease ran out", flows, true)
	if left := u.remaining(t, s.host); left.FailOpen != 0 {
		t.Errorf("a lease that ran out has %s left", left.FailOpen)
	}
	u.agrees(t, s.host, withLease()) // it is no difference
	if err := u.renew(t, s.host, withLease()); err != nil {
		t.Fatal(err)
	}
	tryAll(t, "renewed", flows[:1], false)
}

// Without a proxy an open host is open only where it may be.
func (u suite) openWithoutProxy(t *testing.T) {
	if !u.leases(t) {
		return
	}
	s := newScene(t)
	for _, f := range families {
		says(s.host.Listen(t, f.all+":8080"), "workload")
		says(s.client.Listen(t, f.all+":80"), "client")
	}
	u.install(t, s.host, withLease())
	until(t, leaseTime+testnet.Patience, func() string {
		if left := u.remaining(t, s.host).FailOpen; left != 0 {
			return left.String() + " are left"
		}
		return ""
	})
	for _, f := range families {
		try(t, []flow{
			{name: f.name + "/inbound", from: s.client, to: f.at(s.host, 8080), want: u.closed()},
			{name: f.name + "/outbound", from: s.host, to: f.at(s.client, 80), want: "client"},
			{name: f.name + "/service", from: s.host, to: netip.AddrPortFrom(f.vip, 80), want: refusal},
		})
	}
}

// Renewal makes no lease where there is none, and no rule.
func (u suite) renewal(t *testing.T) {
	if !u.leases(t) {
		return
	}
	h := testnet.Hosts(t, 1)[0]
	for name, r := range map[string]redirect.Rules{"nothing": {}, "rules without a lease": withExclusions()} {
		if name != "nothing" {
			u.install(t, h, r)
		}
		if err := u.renew(t, h, withLease()); !errors.Is(err, redirect.ErrNotInForce) {
			t.Errorf("over %s: %v, want %v", name, err, redirect.ErrNotInForce)
		}
		if err := u.renew(t, h, withExclusions()); err != nil {
			t.Errorf("nothing to renew over %s: %v", name, err)
		}
		u.uninstall(t, h)
	}
	u.install(t, h, withLease())
	if left := u.remaining(t, h).FailOpen; left <= 0 || left > leaseTime {
		t.Errorf("a new lease has %s", left)
	}
	longer := withLease()
	longer.FailOpen = time.Hour
	if err := u.renew(t, h, longer); err != nil {
		t.Fatal(err)
	}
	if left := u.remaining(t, h).FailOpen; left < time.Hour-testnet.Patience {
		t.Errorf("a longer lease has %s", left)
	}
	before := u.exact(t, h)
	const renewals = 100
	began := time.Now()
	for range renewals {
		if err := u.renew(t, h, longer); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("a renewal takes %s", time.Since(began)/renewals)
	if after := u.exact(t, h); timeless(after) != timeless(before) {
		t.Errorf("renewals made of\n%s\nthis:\n%s", before, after)
	}
	u.agrees(t, h, longer)
}

const trialTime = 1500 * time.Millisecond

func onTrial() redirect.Rules {
	r := withExclusions()
	r.ConfirmWithin = trialTime
	return r
}

func (u suite) trialOver(t *testing.T, h *testnet.Host) {
	t.Helper()
	until(t, trialTime+testnet.Patience, func() string {
		if left := u.remaining(t, h).Trial; left != 0 {
			return left.String() + " are left"
		}
		return ""
	})
}

// On trial all is redirected, and when it is over nothing is, though who put
// it in force was killed. What was open stays open throughout.
func (u suite) trial(t *testing.T) {
	if !u.leases(t) {
		return
	}
	s := newScene(t)
	s.play(t)
	s.playDNS(t)
	flows := s.flowsInPhases(func(netip.AddrPort) string { return "workload" })
	tryAll(t, "before", flows, true)
	session := s.host.Listen(t, s.host.IP4.String()+":2222")
	ssh := s.client.Dial(t, "tcp", session.Addr().String())
	sshd := session.Accept(t)

	long := onTrial()
	long.ConfirmWithin = 6 * trialTime // the flows take time
	cmd := u.child(t.Context(), t, s.host, "apply", textOf(t, long))
	if err := s.host.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.String() != "signal: killed" {
		t.Fatalf("the installer ended with %v", err)
	}
	tryAll(t, "on trial", flows, false)
	if left := u.remaining(t, s.host).Trial; left == 0 || left > long.ConfirmWithin {
		t.Errorf("a trial under way has %s left", left)
	}
	exchange(t, ssh, sshd)
	until(t, long.ConfirmWithin+testnet.Patience, func() string { return map[bool]string{true: "not over"}[u.remaining(t, s.host).Trial != 0] })
	tryAll(t, "after the trial", flows, true)
	exchange(t, sshd, ssh)
	u.agrees(t, s.host, long)

	u.install(t, s.host, long) // again, from the beginning
	tryAll(t, "on trial again", flows, false)
	u.install(t, s.host, onTrial())
	u.install(t, s.host, withExclusions()) // confirmed
	u.agrees(t, s.host, withExclusions())
	for end := time.Now().Add(trialTime + trialTime/5); time.Now().Before(end) && !t.Failed(); {
		tryAll(t, "confirmed", flows, false)
	}
}

// Connections through the proxy outlive the end of a trial.
func (u suite) longConnectionsOutliveTrial(t *testing.T) {
	if !u.leases(t) {
		return
	}
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			inbound := s.host.Listen(t, netip.AddrPortFrom(netip.MustParseAddrPort(f.all+":0").Addr(), inboundPort).String(), testnet.Transparent())
			outbound := s.host.Listen(t, netip.AddrPortFrom(f.loopback, outboundPort).String())
			long := onTrial()
			long.ConfirmWithin = 3 * trialTime
			u.install(t, s.host, long)
			in, out := s.client.Dial(t, "tcp", f.at(s.host, 8080).String()), s.host.Dial(t, "tcp", f.at(s.client, 80).String())
			proxyIn, proxyOut := inbound.Accept(t), outbound.Accept(t)
			exchange(t, in, proxyIn)
			exchange(t, out, proxyOut)
			u.trialOver(t, s.host)
			exchange(t, in, proxyIn)
			exchange(t, out, proxyOut)
		})
	}
}

// Every Apply arms a trial anew, for longer or shorter, and a lease beside it
// is its own.
func (u suite) trialIsArmedAnew(t *testing.T) {
	if !u.leases(t) {
		return
	}
	h := testnet.Hosts(t, 1)[0]
	r := withLease()
	r.FailOpen = time.Hour
	for _, within := range []time.Duration{time.Minute, 10 * time.Minute, time.Minute} {
		r.ConfirmWithin = within
		u.install(t, h, r)
		left := u.remaining(t, h)
		if left.Trial > within || left.Trial < within-testnet.Patience {
			t.Errorf("armed for %s, %s are left", within, left.Trial)
		}
		if left.FailOpen < time.Hour-testnet.Patience {
			t.Errorf("beside a trial the lease has %s", left.FailOpen)
		}
	}
	before := u.remaining(t, h)
	if err := u.renew(t, h, r); err != nil {
		t.Fatal(err)
	}
	if after := u.remaining(t, h); after.Trial > before.Trial {
		t.Errorf("renewing the lease made the trial last %s, it had %s", after.Trial, before.Trial)
	}
	r.ConfirmWithin = 0
	u.install(t, h, r)
	if left := u.remaining(t, h); left.Trial != 0 || left.FailOpen == 0 {
		t.Errorf("confirmed, left %+v", left)
	}
}
