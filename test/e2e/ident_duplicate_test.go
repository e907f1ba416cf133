//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/testmesh"
)

// another makes programs of a host see another machine id than this machine's.
// They run by sh, in a mount namespace of their own.
func another(t *testing.T, h *testmesh.Host) (wrap func(args ...string) []string) {
	t.Helper()
	id := filepath.Join(h.Dir, "machine-id")
	if err := os.WriteFile(id, []byte(strings.Repeat("ab", 16)+"\n"), 0o444); err != nil {
		t.Fatal(err)
	}
	return func(args ...string) []string {
		return append([]string{"-c", `mount --bind "$0" /etc/machine-id && exec "$@"`, id}, args...)
	}
}

// TestIdentDuplicate has two hosts want one name, by one token, by a copy of a
// disk, and after the name was freed.
func TestIdentDuplicate(t *testing.T) {
	t.Parallel() // it waits most of the time
	m := testmesh.New(t)
	caller, web := m.Join(t, "caller"), m.Join(t, "web")
	testmesh.ServeMixed(t, web.Host, "127.0.0.1:8080")
	m.Allow(t, "caller", "web")
	caller.WaitAnswer(t, "http://web.mesh/")
	l := &life{Mesh: m, web: caller, api: web, load: testmesh.StartMixed(t, caller, testmesh.Targets{HTTP: "web.mesh"})}
	l.load.AwaitMore(t, 10)
	l.load.Take()

	copied := m.NewHost(t, "web")
	copied.OutliveNot(t)
	elsewhere := another(t, copied)
	agent := testmesh.Binary(t, "weft-agent")
	address := func(t *testing.T) string {
		t.Helper()
		var dp struct{ Networking struct{ Address string } }
		if err := json.Unmarshal([]byte(m.Ctl(t, "get", "dataplane", "web-1", "-o", "json")), &dp); err != nil {
			t.Fatal(err)
		}
		return dp.Networking.Address
	}
	first := address(t)
	unharmed := func(t *testing.T) {
		t.Helper()
		web.WaitWell(t)
		if now := address(t); now != first {
			t.Errorf("the Dataplane is at %s now, and was at %s", now, first)
		}
	}

	l.step(t, "another host by the same name and token", 0, func(t *testing.T) {
		out, err := copied.TryRun(t, "sh", elsewhere(append([]string{agent}, copied.JoinArgs(t, m.JoinToken(t, "web"))...)...)...)
		if err == nil || !strings.Contains(out, "this name is another host's") || !strings.Contains(out, "--name") || !strings.Contains(out, "weftctl delete dataplane web-1 --mesh default") {
			t.Errorf("error %v, output %s", err, out)
		}
		unharmed(t)
	})
	l.step(t, "a copy of the disk, on another machine", 0, func(t *testing.T) {
		if err := os.RemoveAll(filepath.Join(copied.Dir, "state")); err != nil {
			t.Fatal(err)
		}
		copied.Run(t, "cp", "-a", filepath.Join(web.Dir, "state"), filepath.Join(copied.Dir, "state"))
		if err := os.Remove(filepath.Join(copied.Dir, "state", "lock")); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(web.Config())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied.Config(), []byte(strings.ReplaceAll(string(text), web.Dir, copied.Dir)), 0o600); err != nil {
			t.Fatal(err)
		}
		p := testmesh.Start(t, copied.Host, "sh", elsewhere(agent, "run", "--config", copied.Config())...)
		testmesh.Eventually(t, "the copy is told", func() error {
			if out, _ := copied.Agent(t, "status"); !strings.Contains(out, "this name is another host's") || !strings.Contains(out, "empty its state folder") {
				return fmt.Errorf("status says\n%s", out)
			}
			return nil
		})
		if !strings.Contains(m.ControlPlane().Output(), "another host's") {
			t.Error("the control plane's log says nothing of it")
		}
		l.load.AwaitMore(t, 50)
		unharmed(t)
		p.Stop(t)
	})
	again := func() { web.StartAgent(t) } // it outlives the step
	t.Run("the first killed and started, on the same machine", func(t *testing.T) {
		web.AgentProgram().Kill(t)
		again()
		unharmed(t)
		caller.WaitAnswer(t, "http://web.mesh/")
		l.load.Take()
	})
	t.Run("the Dataplane deleted: its host is put out at once", func(t *testing.T) {
		m.Ctl(t, "delete", "dataplane", "web-1")
		testmesh.Eventually(t, "the host is told", func() error {
			if out, _ := web.Agent(t, "status"); !strings.Contains(out, "this host was put out of the mesh: not authenticated: put out: the Dataplane of this host was deleted on") || !strings.Contains(out, "weft-agent join") {
				return fmt.Errorf("status says\n%s", out)
			}
			return nil
		})
		if out, err := m.TryCtl(t, "get", "dataplane", "web-1"); err == nil {
			t.Errorf("it is there again:\n%s", out)
		}
		testmesh.Eventually(t, "what it had of the mesh is gone, and its Envoy with it", func() error {
			left, err := filepath.Glob(filepath.Join(web.Dir, "state", "*", "workload*"))
			if here, _ := filepath.Glob(filepath.Join(web.Dir, "state", "workload*")); err != nil || len(left)+len(here) > 0 {
				return fmt.Errorf("%v %v, error %w", left, here, err)
			}
			if all := web.Envoys(t); len(all) > 0 {
				return fmt.Errorf("Envoy runs as %v", all)
			}
			return nil
		})
		testmesh.Eventually(t, "it is called no more", func() error {
			if code, _, _ := caller.Curl(t, "http://web.mesh/"); code == "200" {
				return fmt.Errorf("code %s", code)
			}
			return nil
		})
	})
	t.Run("and another has the name, by a token for one joining", func(t *testing.T) {
		for _, left := range []string{filepath.Join(copied.Dir, "state"), copied.Config()} {
			if err := os.RemoveAll(left); err != nil {
				t.Fatal(err)
			}
		}
		token := m.JoinToken(t, "web", "--once")
		copied.Run(t, "sh", elsewhere(append([]string{agent}, copied.JoinArgs(t, token)...)...)...)
		testmesh.Start(t, copied.Host, "sh", elsewhere(agent, "run", "--config", copied.Config())...)
		testmesh.ServeMixed(t, copied.Host, "127.0.0.1:8080")
		copied.WaitWell(t)
		caller.WaitAnswer(t, "http://web.mesh/")
		third := m.NewHost(t, "third")
		out, err := third.TryRun(t, agent, third.JoinArgs(t, token, "--service", "web", "--name", "web-3")...)
		if err == nil || !strings.Contains(out, "good for one joining, and has been used") {
			t.Errorf("error %v, output %s", err, out)
		}
	})
}
