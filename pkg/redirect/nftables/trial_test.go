//go:build linux

package nftables

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
)

const trialTime = 1500 * time.Millisecond

func onTrial() redirect.Rules {
	r := withExclusions()
	r.ConfirmWithin = trialTime
	return r
}

func trialOver(t *testing.T, h *testnet.Host) {
	t.Helper()
	until(t, 2*trialTime, "over", func() bool { return remaining(t, h).Trial == 0 })
}

// installerVariable makes a test program an installer that is killed at once.
const installerVariable = "WEFT_TEST_INSTALLER"

// TestInstaller is the program that TestTrialRollsBack starts.
func TestInstaller(t *testing.T) {
	if os.Getenv(installerVariable) == "" {
		return
	}
	if err := New().Apply(t.Context(), onTrial()); err != nil {
		t.Fatal(err)
	}
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	t.Fatal("the installer lives", err)
}

// On trial all is redirected, and when it is over nothing is, though who put
// it in force was killed. What was open stays open throughout.
func TestTrialRollsBack(t *testing.T) {
	s := newScene(t)
	s.play(t)
	s.playDNS(t)
	type flow struct {
		name         string
		call         func() string
		trial, after string
	}
	var flows []flow
	for _, f := range families {
		to := func(name string, from *testnet.Host, at netip.AddrPort, trial, after string) {
			flows = append(flows, flow{f.name + " " + name, func() string { return call(from, at) }, trial, after})
		}
		out, in := f.at(s.client, 80), f.at(s.host, 8080)
		to("outbound", s.host, out, "outbound "+out.String(), "client")
		to("DNS over TCP", s.host, f.at(s.client, 53), "agent", "server")
		to("inbound", s.client, in, "inbound "+in.String(), "workload")
		to("sshd", s.client, f.at(s.host, 22), "sshd", "sshd")
		flows = append(flows, flow{f.name + " DNS", func() string {
			return ask(t, s.host.Dial(t, "udp", f.at(s.client, 53).String()), "q")
		}, "agent q", "server q"})
	}
	for _, f := range flows {
		if got := f.call(); got != f.after {
			t.Fatalf("before: %s was answered by %q, want %q", f.name, got, f.after)
		}
	}
	session := s.host.Listen(t, netip.AddrPortFrom(s.host.IP4, 2222).String())
	ssh := s.client.Dial(t, "tcp", netip.AddrPortFrom(s.host.IP4, 2222).String())
	sshd := session.Accept(t)

	cmd := s.host.Command(t.Context(), os.Args[0], "-test.run=^TestInstaller$")
	cmd.Env = append(os.Environ(), installerVariable+"=1")
	if err := s.host.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.String() != "signal: killed" {
		t.Fatalf("the installer ended with %v", err)
	}
	for _, f := range flows {
		if got := f.call(); got != f.trial {
			t.Errorf("on trial: %s was answered by %q, want %q", f.name, got, f.trial)
		}
	}
	if left := remaining(t, s.host).Trial; left == 0 || left > trialTime {
		t.Errorf("a trial under way has %s left", left)
	}
	exchange(t, ssh, sshd)
	trialOver(t, s.host)
	for _, f := range flows {
		if got := f.call(); got != f.after {
			t.Errorf("after the trial: %s was answered by %q, want %q", f.name, got, f.after)
		}
	}
	exchange(t, sshd, ssh)
	if d := check(t, s.host, onTrial()); len(d) > 0 {
		t.Errorf("a trial that is over is told as %v", d)
	}

	install(t, s.host, onTrial()) // again, from the beginning
	for _, f := range flows {
		if got := f.call(); got != f.trial {
			t.Errorf("on trial again: %s was answered by %q, want %q", f.name, got, f.trial)
		}
	}
	install(t, s.host, withExclusions()) // confirmed
	if d := check(t, s.host, withExclusions()); len(d) > 0 {
		t.Errorf("confirmed: %v", d)
	}
	for end := time.Now().Add(trialTime + trialTime/5); time.Now().Before(end); {
		for _, f := range flows {
			if got := f.call(); got != f.trial {
				t.Fatalf("confirmed: %s was answered by %q, want %q", f.name, got, f.trial)
			}
		}
	}
}

// Connections through the proxy outlive the end of a trial.
func TestLongConnectionsOutliveTheTrial(t *testing.T) {
	s := newScene(t)
	install(t, s.host, onTrial())
	for _, f := range families {
		all := map[string]string{"IPv4": "0.0.0.0", "IPv6": "[::]"}[f.name]
		inbound := s.host.Listen(t, fmt.Sprintf("%s:%d", all, inboundPort), testnet.Transparent())
		outbound := s.host.Listen(t, netip.AddrPortFrom(f.loopback, outboundPort).String())
		install(t, s.host, onTrial()) // all the time
		in, out := s.client.Dial(t, "tcp", f.at(s.host, 8080).String()), s.host.Dial(t, "tcp", f.at(s.client, 80).String())
		proxyIn, proxyOut := inbound.Accept(t), outbound.Accept(t)
		exchange(t, in, proxyIn)
		exchange(t, out, proxyOut)
		trialOver(t, s.host)
		exchange(t, in, proxyIn)
		exchange(t, out, proxyOut)
	}
}

// Every Apply arms a trial anew, for longer or shorter, and a lease beside it
// is its own.
func TestTrialIsArmedAnew(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	r := withLease()
	r.FailOpen = time.Hour
	for _, within := range []time.Duration{time.Minute, 10 * time.Minute, time.Minute} {
		r.ConfirmWithin = within
		install(t, h, r)
		left := remaining(t, h)
		if left.Trial > within || left.Trial < within-testnet.Patience {
			t.Errorf("armed for %s, %s are left", within, left.Trial)
		}
		if left.FailOpen < time.Hour-testnet.Patience {
			t.Errorf("beside a trial the lease has %s", left.FailOpen)
		}
	}
	before := remaining(t, h)
	if err := renew(t, h, r); err != nil {
		t.Fatal(err)
	}
	if after := remaining(t, h); after.Trial > before.Trial {
		t.Errorf("renewing the lease made the trial last %s, it had %s", after.Trial, before.Trial)
	}
	r.ConfirmWithin = 0
	install(t, h, r)
	if left := remaining(t, h); left.Trial != 0 || left.FailOpen == 0 {
		t.Errorf("confirmed, left %+v", left)
	}
	if err := renew(t, h, r); errors.Is(err, redirect.ErrNotInForce) {
		t.Error(err)
	}
}
