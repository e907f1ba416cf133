//go:build linux

package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/testmesh"
)

// TestScarceAgent has an agent live on 32 MiB of memory, 64 open files and a
// bounded number of threads while clients take all of its files, and then on 5 %
// of a core: calls go on, changes arrive, it says what it has too little of, and
// is not killed. (F35)
func TestScarceAgent(t *testing.T) {
	m := testmesh.New(t)
	api := m.Join(t, "api")
	service(t, api, "0.0.0.0")
	web := m.Join(t, "web")
	m.Allow(t, "web", "api")
	web.WaitAnswer(t, "http://api.mesh/")
	web.AgentProgram().Kill(t) // Envoy stays, and is not of the scarce group

	admit, slow, killed := scarce(t)
	agent := testmesh.Start(t, web.Host, "sh", "-ec", admit+
		"ulimit -n 64\nexec "+testmesh.Binary(t, "weft-agent")+" run --config "+web.Config())
	web.WaitWell(t)
	for _, words := range []string{"may have 64 files open", "has 32 MiB of memory", "may have 40 threads"} {
		if !strings.Contains(agent.Output(), words) {
			t.Errorf("the log does not say %q", words)
		}
	}
	var held []net.Conn
	for range 120 { // more than it has files
		c, err := web.TryDial("tcp", "127.0.0.1:15053")
		if err != nil {
			break
		}
		held = append(held, c)
	}
	for range 20 {
		web.WaitAnswer(t, "http://api.mesh/")
	}
	for _, c := range held {
		_ = c.Close()
	}
	web.WaitWell(t)
	slow() // from here on 5 % of a core
	m.Ctl(t, "delete", "traffic-permission", "web-to-api")
	testmesh.Eventually(t, "a slow agent follows a change", func() error {
		if code, _, _ := web.Curl(t, "http://api.mesh/"); code != "503" {
			return fmt.Errorf("code %s", code)
		}
		return nil
	})
	m.Allow(t, "web", "api")
	web.WaitAnswer(t, "http://api.mesh/")
	web.WaitWell(t)
	if out, err := web.Agent(t, "doctor"); err == nil || !strings.Contains(out, "LimitNOFILE=") || !strings.Contains(out, "MemoryMax=") {
		t.Errorf("doctor does not say what there is too little of:\n%s", out)
	}
	if words, none := killed(); !none {
		t.Errorf("the kernel killed for want of memory: %s", words)
	}
	agent.Stop(t)
}

// scarce makes cgroups with 32 MiB of memory and 40 threads. admit are commands of
// a shell that enters them; slow leaves who is in them 5 % of a core; killed tells
// whether nobody in them was killed for want of memory. In version 2 of cgroups
// they are one, in version 1 one for each controller.
func scarce(t *testing.T) (admit string, slow func(), killed func() (words string, none bool)) {
	t.Helper()
	const root, memory, threads = "/sys/fs/cgroup", 32 << 20, 40
	group := func(controller string, limits map[string]int) (dir string) {
		dir = filepath.Join(root, controller, fmt.Sprintf("weft-e2e-%d", os.Getpid()))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatalf("a cgroup of %q: %v", controller, err)
		}
		t.Cleanup(func() { _ = os.Remove(dir) })
		for file, value := range limits {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(strconv.Itoa(value)), 0o600); err != nil {
				t.Fatalf("the root's cgroup.subtree_control must have memory and pids: %v", err)
			}
		}
		admit += fmt.Sprintf("echo $$ > %s/cgroup.procs\n", dir)
		return dir
	}
	kills := func(file string) func() (string, bool) {
		return func() (string, bool) {
			text, err := os.ReadFile(file)
			return fmt.Sprintf("%s (%v)", text, err), err == nil && strings.Contains(string(text), "oom_kill 0")
		}
	}
	quota := func(file, text string) func() {
		return func() {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		dir := group("", map[string]int{"memory.max": memory, "pids.max": threads})
		return admit, quota(filepath.Join(dir, "cpu.max"), "5000 100000"), kills(filepath.Join(dir, "memory.events"))
	}
	dir := group("memory", map[string]int{"memory.limit_in_bytes": memory})
	group("pids", map[string]int{"pids.max": threads})
	cpu := group("cpu", nil)
	return admit, quota(filepath.Join(cpu, "cpu.cfs_quota_us"), "5000"), kills(filepath.Join(dir, "memory.oom_control"))
}
