//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/internal/testtime"
)

// back is how long a host may take from the start of its agent to the first
// answer, while no control plane is there.
const back = 2 * time.Second

// TestHostsComeBackWithoutControlPlane kills a mesh's control plane, then both
// of its hosts, and has these serve from disk.
func TestHostsComeBackWithoutControlPlane(t *testing.T) {
	m := testmesh.New(t)
	watch := testtime.Start(t)
	web, api := m.Join(t, "web"), m.Join(t, "api")
	joining := watch.Took()
	service(t, web, "127.0.0.1")
	service(t, api, "127.0.0.1")
	before := time.Now()
	m.Allow(t, "web", "api")
	stranger := m.Net.Host("stranger")
	hosts := []*testmesh.Host{web, api}

	call := func() error {
		code, body, err := web.Curl(t, "--max-time", "0.3", "http://api.mesh/")
		if err != nil || code != "200" {
			return fmt.Errorf("code %s, error %w, body %s", code, err, body)
		}
		return nil
	}
	denied := func(t *testing.T) {
		t.Helper()
		for _, addr := range []string{fmt.Sprintf("http://%s:8080/", api.IP4), fmt.Sprintf("http://[%s]:8080/", api.IP6)} {
			if out, err := stranger.TryRun(t, "curl", "--silent", "--max-time", "3", addr); err == nil {
				t.Errorf("%s answered a stranger: %s", addr, out)
			}
		}
		if code, _, err := api.Curl(t, "--max-time", "3", "http://web.mesh/"); err == nil && code == "200" {
			t.Error("a call without a permission was answered")
		}
	}
	kill := func() {
		for _, h := range hosts {
			h.KillAll(t)
		}
	}
	startAgents := func() { // they outlive the step
		for _, h := range hosts {
			h.StartAgent(t)
		}
	}
	// start ends the hosts' programs, and what else, and starts their agents.
	start := func(t *testing.T, and func()) {
		t.Helper()
		soonBack(t, joining, hosts, func() time.Duration {
			kill()
			and()
			watch := testtime.Start(t)
			startAgents()
			testmesh.Eventually(t, "api.mesh answers again", call)
			return watch.Took()
		})
	}
	step := 0
	run := func(name string, f func(t *testing.T)) {
		step++
		if !t.Run(fmt.Sprintf("%02d %s", step, name), f) {
			t.FailNow()
		}
	}

	testmesh.Eventually(t, "api.mesh answers", call)
	// Whom api lets in must be on its disk, and not only what it had before.
	testmesh.Eventually(t, "api has the permission on disk", func() error { return writtenAfter(filepath.Join(api.Dir, "state", "xds"), before) })
	for _, h := range hosts {
		testmesh.Eventually(t, h.Name+" has everything on disk", func() error { return atRest(filepath.Join(h.Dir, "state", "xds")) })
	}
	run("without a control plane the mesh goes on", func(t *testing.T) {
		m.StopControlPlane(t)
		for range 5 {
			if err := call(); err != nil {
				t.Error(err)
			}
		}
	})
	run("agents and Envoys killed and started again", func(t *testing.T) {
		start(t, func() {})
		denied(t)
		for _, h := range hosts {
			out, _ := h.Agent(t, "status")
			if !strings.Contains(out, "serving last-good since ") || !strings.Contains(out, "from disk") {
				t.Errorf("status does not say what is served:\n%s", out)
			}
		}
	})
	run("the hosts rebooted: no processes, no rules, nothing in /run", func(t *testing.T) {
		start(t, func() {
			for _, h := range hosts {
				h.Run(t, "nft", "flush", "ruleset")
				if err := os.RemoveAll(filepath.Join(h.Dir, "run")); err != nil {
					t.Fatal(err)
				}
			}
		})
		denied(t)
	})
	run("the newest file torn: the one before it, or none, but never a crash", func(t *testing.T) {
		kill()
		files, err := filepath.Glob(filepath.Join(web.Dir, "state", "xds", "set-*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("files %v, error %v", files, err)
		}
		for _, f := range files {
			if err := os.Truncate(f, 100); err != nil {
				t.Fatal(err)
			}
		}
		startAgents()
		testmesh.Eventually(t, "status tells of the files", func() error {
			if out, _ := web.Agent(t, "status"); !strings.Contains(out, "passed over set-") {
				return fmt.Errorf("status says\n%s", out)
			}
			return nil
		})
		denied(t)
	})
	startControlPlane := func() { m.StartControlPlane(t) }
	run("the control plane is back: what it changed meanwhile is taken up", func(t *testing.T) {
		startControlPlane()
		testmesh.Eventually(t, "api.mesh answers", call)
		for _, h := range hosts {
			h.WaitWell(t)
			if out, _ := h.Agent(t, "status"); strings.Contains(out, "last-good since") {
				t.Errorf("status still says:\n%s", out)
			}
		}
	})
	run("what was taken away while the agents were dead is gone soon after they are back", func(t *testing.T) {
		for _, h := range hosts {
			testmesh.Eventually(t, h.Name+" has everything on disk", func() error { return atRest(filepath.Join(h.Dir, "state", "xds")) })
		}
		kill()
		m.Ctl(t, "delete", "traffic-permission", "web-to-api")
		startAgents()
		testmesh.Eventually(t, "the call is denied", func() error {
			if code, _, _ := web.Curl(t, "--max-time", "1", "http://api.mesh/"); code != "503" {
				return fmt.Errorf("code %s", code)
			}
			return nil
		})
		for _, h := range hosts {
			h.WaitWell(t)
		}
		denied(t)
	})
	run("leaving takes what was kept along", func(t *testing.T) {
		if out, err := web.Agent(t, "leave"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		left, err := filepath.Glob(web.Dir + "/*")
		if err != nil || len(left) > 0 {
			t.Errorf("files are left: %v %v", left, err)
		}
	})
}

// soonBack has hosts come back, which must take no longer than is promised, or,
// where the machine is busy, than they took to join. Where it does, they come
// back once more, with what they then know that they can live with.
func soonBack(t *testing.T, joining time.Duration, hosts []*testmesh.Host, comeBack func() time.Duration) {
	t.Helper()
	again := false
	testtime.Soon(t, "the way back into the mesh", max(back, joining), func() time.Duration {
		for _, h := range hosts {
			testmesh.Eventually(t, "what "+h.Name+" has on disk is not on trial", func() error {
				if _, err := os.Stat(filepath.Join(h.Dir, "state", "xds", "trial")); again && err == nil {
					return errors.New("it is")
				}
				return nil
			})
		}
		again = true
		took := comeBack()
		t.Logf("back in the mesh after %.2f s; joining took %.2f s", took.Seconds(), joining.Seconds())
		return took
	})
}

// writtenAfter says whether anything is kept in dir that is younger.
func writtenAfter(dir string, than time.Time) error {
	files, err := filepath.Glob(filepath.Join(dir, "set-*"))
	for _, f := range files {
		if info, err := os.Stat(f); err == nil && info.ModTime().After(than) {
			return nil
		}
	}
	return fmt.Errorf("none of %q is younger than %s, %w", files, than, err)
}

// atRest says whether what is kept in dir has not changed for a while.
func atRest(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "set-*"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("there are %v, %w", files, err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return err
		}
		if age := time.Since(info.ModTime()); age < 3*time.Second {
			return fmt.Errorf("%s was written %s ago", f, age)
		}
	}
	return nil
}
