//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/testmesh"
)

// TestIdentMemory has a host whose keys no disk ever sees: a restart of its
// agent finds them, a reboot takes them, and it joins anew by a token in a file.
func TestIdentMemory(t *testing.T) {
	m := testmesh.New(t)
	h := m.NewHost(t, "web")
	agent := testmesh.Binary(t, "weft-agent")
	file := filepath.Join(h.Dir, "join-token")
	write := func(t *testing.T, token string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	flags := func(run string) []string {
		return h.JoinArgs(t, m.JoinToken(t, "web"), "--key-store", "memory", "--join-token-file", file, "--run-dir", run)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(h.Dir, &fs); err != nil {
		t.Fatal(err)
	}
	if fs.Type != unix.TMPFS_MAGIC {
		t.Run("a run folder on a disk is refused", func(t *testing.T) {
			out, err := h.TryRun(t, agent, flags(filepath.Join(h.Dir, "run"))...)
			if err == nil || !strings.Contains(out, "is on a disk and not in memory") {
				t.Errorf("error %v, output %s", err, out)
			}
		})
	}
	run, err := os.MkdirTemp("/dev/shm", "weft-") //nolint:usetesting // a tmpfs, which the test's own folder is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(run) })
	start := func() { h.StartAgent(t) } // it outlives the step
	stop := func(t *testing.T) {
		t.Helper()
		h.AgentProgram().Stop(t)
	}
	onDisk := func(t *testing.T) {
		t.Helper()
		_ = filepath.WalkDir(h.Dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				if text, _ := os.ReadFile(path); strings.Contains(string(text), "PRIVATE KEY") {
					t.Errorf("%s holds a key", path)
				}
			}
			return nil
		})
	}

	h.Run(t, agent, flags(run)...)
	start()
	h.WaitWell(t)
	onDisk(t)
	t.Run("the agent restarted, with no token", func(t *testing.T) {
		stop(t)
		start()
		h.WaitWell(t)
	})
	t.Run("rebooted: the token is read until it is a good one", func(t *testing.T) {
		h.StopAll(t) // Envoy does not outlive a reboot
		if err := os.RemoveAll(run); err != nil {
			t.Fatal(err)
		}
		write(t, "not a token")
		start()
		testmesh.Eventually(t, "the agent says what it lacks", func() error {
			if out := h.AgentProgram().Output(); !strings.Contains(out, "workload could not join again") || !strings.Contains(out, "weftctl join-token") {
				return fmt.Errorf("it says %s", out)
			}
			return nil
		})
		write(t, m.JoinToken(t, "web", "--once"))
		h.WaitWell(t)
		onDisk(t)
	})
	t.Run("leaving takes the keys along", func(t *testing.T) {
		if out, err := h.Agent(t, "leave"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if left, _ := filepath.Glob(filepath.Join(run, "identity", "*")); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
}
