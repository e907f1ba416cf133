//go:build linux

package e2e

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/internal/testtime"
)

// long takes the times that are promised, and not a tenth of them.
var long = flag.Bool("long", false, "take minutes where seconds show the same")

// lives has the mesh's certificates live so long.
func lives(t *testing.T, m *testmesh.Mesh, expiration, withoutControlPlane string) {
	t.Helper()
	m.Apply(t, fmt.Sprintf(`type: Mesh
name: default
mtls:
  enabledBackend: ca-1
  backends:
  - name: ca-1
    type: builtin
    dpCert: {rotation: {expiration: %s}, withoutControlPlane: %s}
`, expiration, withoutControlPlane))
}

// certificates waits until every host has a newer certificate than before.
func (l *life) certificates(t *testing.T, before map[string]time.Time) map[string]time.Time {
	t.Helper()
	now := map[string]time.Time{}
	for _, h := range []*testmesh.Host{l.web, l.api, l.rpc} {
		testmesh.Eventually(t, h.Name+" has a new certificate", func() error {
			expires := h.Status(t).Identity.Workload.Expires
			if !expires.After(before[h.Name]) {
				return fmt.Errorf("it has one until %s, %s before", expires, before[h.Name])
			}
			now[h.Name] = expires
			return nil
		})
	}
	return now
}

// TestIdentOutage renews certificates under load, and has the control plane
// away for longer than any of them lives.
func TestIdentOutage(t *testing.T) {
	t.Parallel() // it waits most of the time
	life, rounds := 10*time.Second, 2
	if *long {
		life, rounds = 20*time.Second, 8
	}
	m := testmesh.New(t)
	lives(t, m, life.String(), "GRACE")
	l := newLifeIn(t, m)
	stranger := l.Net.Host("stranger")
	denied := func(t *testing.T) {
		t.Helper()
		if out, err := stranger.TryRun(t, "curl", "--silent", "--max-time", "2", fmt.Sprintf("http://%s:8080/", l.api.IP4)); err == nil {
			t.Errorf("a stranger was answered: %s", out)
		}
		if code, _, err := l.api.Curl(t, "--max-time", "2", "http://rpc.mesh/"); err == nil && code == "200" {
			t.Error("a call without a permission was answered")
		}
	}
	status := func(t *testing.T, h *testmesh.Host, words ...string) {
		t.Helper()
		testmesh.Eventually(t, "status of "+h.Name+" tells", func() error {
			out, _ := h.Agent(t, "status")
			for _, w := range words {
				if !strings.Contains(out, w) {
					return fmt.Errorf("%q is not in\n%s", w, out)
				}
			}
			return nil
		})
	}

	// reborn kills web's agent and Envoy and starts them: what is open lives on
	// after a certificate has expired, and only what is new is judged.
	start := func() { l.web.StartAgent(t) } // it outlives the step
	reborn := func(t *testing.T) *testtime.Watch {
		t.Helper()
		envoy := l.web.Status(t).Envoy.PID
		l.web.AgentProgram().Kill(t)
		if err := unix.Kill(envoy, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			t.Fatal(err)
		}
		testmesh.Eventually(t, "Envoy is gone", func() error {
			if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", envoy)); err == nil && len(line) > 0 {
				return fmt.Errorf("%d is there", envoy)
			}
			return nil
		})
		watch := testtime.Start(t)
		start()
		return watch
	}

	var last map[string]time.Time
	l.step(t, fmt.Sprintf("renewed every %s, %d times", life/2, rounds), 0, func(t *testing.T) {
		for range rounds {
			last = l.certificates(t, last)
		}
		denied(t)
	})
	l.step(t, "control plane killed, until all certificates have expired, with grace", 0, func(t *testing.T) {
		l.StopControlPlane(t)
		status(t, l.web, "serving last-good since")
		for _, h := range []*testmesh.Host{l.web, l.api, l.rpc} {
			testmesh.Eventually(t, "the certificate of "+h.Name+" expires", func() error {
				if s := h.Status(t).Identity; !s.Workload.Expired || !s.Grace {
					return fmt.Errorf("status %+v", s)
				}
				return nil
			})
		}
		status(t, l.api, "EXPIRED on", "EXPIRED CERTIFICATES OF PEERS ARE LET IN")
		l.load.AwaitMore(t, 100) // of new connections, too
		denied(t)
	})
	t.Run("and a host restarted, with its certificate expired", func(t *testing.T) {
		soonBack(t, 2*l.joining, []*testmesh.Host{l.web}, func() time.Duration { // other than then, there is load
			watch := reborn(t)
			testmesh.Eventually(t, "api.mesh answers", func() error {
				if code, _, err := l.web.Curl(t, "--max-time", "0.3", "http://api.mesh/"); err != nil || code != "200" {
					return fmt.Errorf("code %s, error %w", code, err)
				}
				return nil
			})
			return watch.Took()
		})
		if s := l.web.Status(t).Identity; !s.Workload.Expired || !s.Grace {
			t.Errorf("status %+v", s)
		}
		l.load.AwaitMore(t, 10)
		denied(t)
	})
	again := func() { l.StartControlPlane(t) } // it outlives the step
	l.step(t, "control plane back", 0, func(t *testing.T) {
		again()
		last = l.certificates(t, last)
		for _, h := range []*testmesh.Host{l.web, l.api, l.rpc} {
			h.WaitWell(t)
			if h.Status(t).Identity.Grace {
				t.Errorf("%s still lets expired certificates in", h.Name)
			}
		}
		denied(t)
	})
	if !*long {
		return
	}
	l.step(t, "a mesh that fails closed", 0, func(t *testing.T) {
		lives(t, m, life.String(), "FAIL_CLOSED")
		for range 2 {
			last = l.certificates(t, last)
		}
		for _, h := range []*testmesh.Host{l.web, l.api, l.rpc} {
			if !h.Status(t).Identity.FailClosed {
				t.Errorf("%s does not know", h.Name)
			}
		}
	})
	t.Run("control plane killed, until all certificates have expired, closed", func(t *testing.T) {
		l.load.Take()
		l.StopControlPlane(t)
		for _, h := range []*testmesh.Host{l.web, l.api, l.rpc} {
			testmesh.Eventually(t, "the certificate of "+h.Name+" expires", func() error {
				if s := h.Status(t).Identity; !s.Workload.Expired || s.Grace {
					return fmt.Errorf("status %+v", s)
				}
				return nil
			})
		}
		reborn(t)
		testmesh.Eventually(t, "a new connection is refused", func() error {
			if code, _, _ := l.web.Curl(t, "http://api.mesh/"); code != "503" {
				return fmt.Errorf("code %s", code)
			}
			return nil
		})
		status(t, l.api, "EXPIRED on", "peers refuse this host, as the mesh fails closed")
		denied(t)
		t.Logf("refused by the way\n%s", l.load.Take())
		again()
		l.web.WaitAnswer(t, "http://api.mesh/")
		for _, h := range []*testmesh.Host{l.web, l.api, l.rpc} {
			h.WaitWell(t)
		}
		l.load.AwaitMore(t, 10)
	})
	l.step(t, "well again", 0, func(t *testing.T) { l.load.AwaitMore(t, 100); denied(t) })
}
