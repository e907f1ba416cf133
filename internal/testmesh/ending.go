//go:build linux

package testmesh

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Envoys are the pids of the Envoys that run from this host's folder, whatever
// became of the agent that started them.
func (h *Host) Envoys(t testing.TB) (pids []int) {
	t.Helper()
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range procs {
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		stat, _ := os.ReadFile(filepath.Join(dir, "stat"))
		if strings.Contains(string(line), "--config-path\x00"+h.Dir+"/") && !strings.Contains(string(stat), ") Z ") {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			pids = append(pids, pid)
		}
	}
	return pids
}

// KillEnvoys ends the host's Envoys by SIGKILL, and returns when they are gone.
func (h *Host) KillEnvoys(t testing.TB) {
	t.Helper()
	for _, pid := range h.Envoys(t) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Errorf("kill Envoy (pid %d) of %s: %v", pid, h.Name, err)
		}
		Eventually(t, fmt.Sprintf("Envoy (pid %d) of %s is gone", pid, h.Name), func() error {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if err == nil && !strings.Contains(string(stat), ") Z ") {
				return errors.New("it is there")
			}
			return nil
		})
	}
}

// KillAll ends the agent by SIGKILL and its Envoy with it.
func (h *Host) KillAll(t testing.TB) {
	t.Helper()
	h.agent.Kill(t)
	h.KillEnvoys(t)
}

// StopAll drains and ends the agent and its Envoy.
func (h *Host) StopAll(t testing.TB) {
	t.Helper()
	if out, err := h.Agent(t, "stop"); err != nil {
		t.Fatalf("stop %s: %v\n%s", h.Name, err, out)
	}
	h.agent.Stop(t)
}

// outlived ends the host's Envoys when this process has died, as by a test's
// timeout: nobody else would.
const outlived = `read nothing; sleep 1
grep -lzs "^$0/.*/bootstrap-" /proc/[0-9]*/cmdline | while IFS=/ read -r _ _ pid _; do kill -9 "$pid"; done`

// watchOver has that done; what it returns ends the watch.
func (h *Host) watchOver(t testing.TB) (end func()) {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "sh", "-c", outlived, h.Dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // who ends this process by its group, as timeout(1) does, is not to end the watch
	alive, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatalf("watch over the Envoys of %s: %v", h.Name, err)
	}
	return func() {
		_ = cmd.Process.Kill()
		_ = alive.Close()
		_ = cmd.Wait()
	}
}

// endEnvoys leaves nothing of the host's Envoys, after its agent has ended.
func (h *Host) endEnvoys(t testing.TB) {
	if _, err := os.Stat(h.Config()); err == nil {
		stop := exec.Command(Binary(t, "weft-agent"), "stop", "--drain-time", "0s", "--config", h.Config()) //nolint:noctx // it is bounded by itself
		if out, err := stop.CombinedOutput(); err != nil {
			t.Logf("stop %s: %v\n%s", h.Name, err, out)
		}
	}
	h.KillEnvoys(t)
}
