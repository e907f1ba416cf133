//go:build linux

package e2e

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/internal/testtime"
)

const (
	failover = time.Second      // from a broken stream to another control plane
	halfOpen = 20 * time.Second // until a connection that says nothing is given up
)

// TestIdentFailover reaches the control plane at three addresses, and closes
// one after the other: by resets, and by silence.
func TestIdentFailover(t *testing.T) {
	t.Parallel() // it waits most of the time
	// The addresses are told by the control plane; the token names one.
	advertised := []string{"198.51.100.10", "198.51.100.201", "198.51.100.202"}
	m := testmesh.New(t, "--advertise", strings.Join(advertised, ","))
	if m.CP.IP4.String() != advertised[0] {
		t.Fatalf("the control plane is at %s", m.CP.IP4)
	}
	for _, a := range advertised[1:] {
		m.CP.Run(t, "ip", "address", "add", a+"/24", "dev", "eth0")
	}
	web, api := m.Join(t, "web"), m.Join(t, "api")
	testmesh.ServeMixed(t, api.Host, "127.0.0.1:8080")
	m.Allow(t, "web", "api")
	web.WaitAnswer(t, "http://api.mesh/")
	l := &life{Mesh: m, web: web, api: api, load: testmesh.StartMixed(t, web, testmesh.Targets{HTTP: "api.mesh"})}
	l.load.AwaitMore(t, 10)
	l.load.Take()

	at := func(t *testing.T) string {
		t.Helper()
		host, _, err := net.SplitHostPort(web.Status(t).Identity.ControlPlane)
		if err != nil {
			t.Fatal(err)
		}
		return host
	}
	// moved waits until the host is with another than from, and returns when it
	// was lost and when there.
	moved := func(t *testing.T, from string) (lost, there time.Time) {
		t.Helper()
		deadline := time.Now().Add(halfOpen + testtime.Wait)
		for {
			s := web.Status(t)
			if host, _, _ := net.SplitHostPort(s.Identity.ControlPlane); s.Relay.ControlPlane.Connected && host != from {
				return when(t, web.AgentProgram().Output(), "control plane lost"), s.Relay.ControlPlane.Since
			}
			if time.Now().After(deadline) {
				t.Fatalf("still at %s: %+v", from, s)
			}
		}
	}
	// A change must arrive, so that the stream is more than open.
	follows := func(t *testing.T) {
		t.Helper()
		m.Ctl(t, "delete", "traffic-permission", "web-to-api")
		testmesh.Eventually(t, "the call is denied", func() error {
			if code, _, _ := web.Curl(t, "http://api.mesh/"); code != "503" {
				return fmt.Errorf("code %s", code)
			}
			return nil
		})
		m.Allow(t, "web", "api")
		web.WaitAnswer(t, "http://api.mesh/")
	}
	firewall := func(t *testing.T, rules string) {
		t.Helper()
		m.CP.Run(t, "nft", "table inet test { chain c { type filter hook input priority 0; "+rules+" }; }")
	}

	l.step(t, "the host learns where control planes are", 0, func(t *testing.T) {
		testmesh.Eventually(t, "it knows all", func() error {
			known := web.Status(t).Identity.ControlPlanes
			for _, a := range advertised {
				if !slices.Contains(known, a+":5678") {
					return fmt.Errorf("it knows %q", known)
				}
			}
			return nil
		})
	})
	l.step(t, "its control plane resets the connection", 0, func(t *testing.T) {
		m.CP.Run(t, "nft", "add", "table", "inet", "test")
		testtime.Soon(t, "the way to another control plane", failover, func() time.Duration {
			m.CP.Run(t, "nft", "delete", "table", "inet", "test")
			gone, watch := at(t), testtime.Start(t)
			firewall(t, "ip daddr "+gone+" tcp dport 5678 reject with tcp reset;")
			lost, there := moved(t, gone)
			t.Logf("from %s to %s in %d ms", gone, at(t), there.Sub(lost).Milliseconds())
			return there.Sub(lost) - watch.Stood()
		})
	})
	silent := at(t)
	l.step(t, "another one goes silent, in both directions", 0, func(t *testing.T) {
		watch, began := testtime.Start(t), time.Now()
		firewall(t, "ip daddr "+silent+" tcp dport 5678 drop;")
		m.CP.Run(t, "nft", "table inet test { chain out { type filter hook output priority 0; ip saddr "+silent+" tcp sport 5678 drop; }; }")
		_, there := moved(t, silent)
		t.Logf("from %s to %s, %.1f s after it went silent", silent, at(t), there.Sub(began).Seconds())
		if took := there.Sub(began) - watch.Stood(); took > halfOpen {
			t.Errorf("it took %s, more than %s", took, halfOpen)
		}
		testmesh.Eventually(t, "the control plane has let go of the old stream", func() error {
			if out := m.Ctl(t, "inspect", "dataplane", "web-1", "--stage", "stream"); !strings.Contains(out, "streams: 1\n") {
				return fmt.Errorf("it says\n%s", out)
			}
			return nil
		})
	})
	t.Run("changes arrive by the third", follows)
}

// when is the time of the last line of a log with those words.
func when(t *testing.T, log, words string) time.Time {
	t.Helper()
	var last string
	for line := range strings.Lines(log) {
		if strings.Contains(line, words) {
			last = line
		}
	}
	text, _, _ := strings.Cut(strings.TrimPrefix(last, "time="), " ")
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatalf("no line with %q in\n%s", words, log)
	}
	return at
}
