//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/internal/testmesh"
)

// runsAs wants a host's one Envoy to be a user's, with these capabilities
// (hexadecimal), and status and doctor to say so.
func runsAs(t *testing.T, h *testmesh.Host, uid, caps string) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.Status(t).Envoy.PID))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{`Uid:\t` + uid + `\t` + uid + `\t` + uid, `CapEff:\t0*` + caps + `\n`, `CapAmb:\t0*` + caps + `\n`} {
		if !regexp.MustCompile(line).Match(text) {
			t.Errorf("Envoy of %s is not as wanted (%s):\n%s", h.Name, line, text)
		}
	}
	for _, of := range []string{"status", "doctor"} {
		if out, _ := h.Agent(t, of); !strings.Contains(out, "user "+uid) {
			t.Errorf("%s does not tell of user %s:\n%s", of, uid, out)
		}
	}
}

// TestLifeOfEnvoyUser has Envoys run as users of their own, and change them
// under load: with redirection, without, and two on one host.
func TestLifeOfEnvoyUser(t *testing.T) {
	const first, second = "61001", "61002"
	m := testmesh.New(t)
	l := &life{Mesh: m}
	join := func(h *testmesh.Host, args ...string) *testmesh.Host {
		t.Helper()
		if err := os.Chmod(h.Dir, 0o711); err != nil {
			t.Fatal(err)
		}
		h.JoinMesh(t, m.JoinToken(t, h.Service), append([]string{"--envoy", forOthers(t, h.Dir, envoytest.Binary(t)), "--change-time", "4s"}, args...)...)
		h.StartAgent(t)
		h.WaitWell(t)
		return h
	}
	l.web = join(m.NewHost(t, "web"))
	l.api = join(m.NewHost(t, "api"), "--envoy-user", first)
	l.rpc = join(m.NewHost(t, "rpc"), "--envoy-user", first, "--protocol", "grpc")
	for _, h := range []*testmesh.Host{l.api, l.rpc} {
		testmesh.ServeMixed(t, h.Host, "127.0.0.1:8080")
		l.Allow(t, "web", h.Service)
	}
	l.web.WaitAnswer(t, "http://api.mesh/")
	l.load = testmesh.StartMixed(t, l.web, testmesh.Targets{HTTP: "api.mesh", GRPC: "rpc.mesh"})
	l.load.AwaitMore(t, 10)
	l.load.Take()
	runsAs(t, l.api, first, "1400")
	whole := t
	// What takes longer than changeTime is cut with each replacement; HTTP is not.
	step := func(name string, f func(t *testing.T)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			l.load.Take()
			f(t)
			l.load.AwaitMore(t, 20)
			got := l.load.Take()
			t.Logf("%d of %d requests failed\n%s", got.Failed(), got.Requests(), got)
			for _, sort := range []string{testmesh.KeepAlive, testmesh.NewConnections} {
				if n := got[sort].Failed(); n > 0 {
					t.Errorf("%s: %d failed", sort, n)
				}
			}
		})
	}
	const running, stopped = true, false
	change := func(t *testing.T, h *testmesh.Host, user string, is bool) {
		t.Helper()
		before := h.Status(t).Envoy.PID
		if is == stopped {
			h.AgentProgram().Stop(t)
		}
		text, err := os.ReadFile(h.Config())
		if err != nil {
			t.Fatal(err)
		}
		text = append(regexp.MustCompile(`(?m)^envoyUser: .*\n`).ReplaceAll(text, nil), "envoyUser: \""+user+"\"\n"...)
		if err := os.WriteFile(h.Config(), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if is == stopped {
			h.StartAgent(whole)
		}
		testmesh.Eventually(t, "another Envoy serves on "+h.Name, func() error {
			if now := h.Status(t).Envoy.PID; now == before || now == 0 {
				return fmt.Errorf("pid %d", now)
			}
			return nil
		})
		h.WaitWell(t)
	}
	step("a caller's Envoy goes from root to a user", func(t *testing.T) {
		change(t, l.web, first, running)
		runsAs(t, l.web, first, "1400")
	})
	step("from one user to another", func(t *testing.T) {
		change(t, l.web, second, running)
		runsAs(t, l.web, second, "1400")
		change(t, l.api, second, stopped)
		runsAs(t, l.api, second, "1400")
	})
	step("agents killed: the Envoy of another user is taken back", func(t *testing.T) {
		for _, h := range []*testmesh.Host{l.web, l.api} {
			pid := h.Status(t).Envoy.PID
			h.AgentProgram().Kill(t)
			h.StartAgent(whole)
			h.WaitWell(t)
			testmesh.Eventually(t, "the one before has ended", func() error {
				if now := h.Envoys(t); len(now) != 1 || now[0] != pid {
					return fmt.Errorf("host %s has Envoys %v, want %d alone", h.Name, now, pid)
				}
				return nil
			})
		}
	})
	t.Run("nobody else gets at what Envoy has", func(t *testing.T) {
		run := filepath.Join(l.api.Dir, "run")
		var files []string
		for _, of := range []string{"", "envoy/"} {
			entries, err := os.ReadDir(filepath.Join(run, of))
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				files = append(files, filepath.Join(run, of+e.Name()))
			}
		}
		const try = `
import os, socket, sys, stat
for path in sys.argv[1:]:
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISSOCK(mode):
            for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
                try:
                    socket.socket(socket.AF_UNIX, kind).connect(path)
                    print("reached", path)
                except (PermissionError, ConnectionRefusedError): pass
                except OSError as e:
                    if e.errno != 91: raise
        elif stat.S_ISDIR(mode): os.listdir(path); print("reached", path)
        else: open(path).read(); print("reached", path)
    except PermissionError: pass
`
		if len(files) < 8 {
			t.Errorf("there are only %v", files)
		}
		reach := func(uid string) string {
			return l.api.Run(t, "setpriv", append([]string{"--reuid", uid, "--regid", uid, "--clear-groups", "/usr/bin/python3", "-c", try}, files...)...)
		}
		for _, uid := range []string{"1", first} { // daemon, and who was Envoy before
			if out := reach(uid); strings.Contains(out, "reached") && (uid != first || strings.Contains(out, "envoy/") || strings.Contains(out, ".sock")) {
				t.Errorf("user %s:\n%s", uid, out)
			}
		}
		if out := reach(second); strings.Count(out, ".sock") < 4 { // else nothing was tried above
			t.Errorf("Envoy's own user:\n%s", out)
		}
	})
	t.Run("two workloads of one host, each Envoy a user's of its own", func(t *testing.T) {
		l.web.Run(t, testmesh.Binary(t, "weft-agent"), "join", m.JoinToken(t, "batch"), "--workload", "batch", "--service", "batch", "--name", "batch-1", "--port", "8081",
			"--protocol", "http", "--envoy-user", first, "--redirect=false", "--outbound", "10001=api", "--config", l.web.Config())
		m.Apply(t, `type: TrafficPermission
mesh: default
name: web-to-api
sources: [{match: {kuma.io/service: web}}, {match: {kuma.io/service: batch}}]
destinations: [{match: {kuma.io/service: api}}]
`)
		l.web.WaitAnswer(t, "http://127.0.0.1:10001/")
		l.web.WaitAnswer(t, "http://api.mesh/")
		var users []string
		for _, pid := range l.web.Envoys(t) {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			if err != nil {
				t.Fatal(err)
			}
			users = append(users, regexp.MustCompile(`Uid:\t(\d+)`).FindStringSubmatch(string(text))[1]+" "+regexp.MustCompile(`CapEff:\t0*(\d+)`).FindStringSubmatch(string(text))[1])
		}
		if len(users) != 2 || !strings.Contains(strings.Join(users, ", "), second+" 1400") || !strings.Contains(strings.Join(users, ", "), first+" 400") {
			t.Errorf("users and capabilities %v", users)
		}
	})
}
