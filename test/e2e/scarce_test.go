//go:build linux

package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/testmesh"
)

// TestScarceAgent has an agent live on 32 MiB of memory, 64 open files and a
// bounded number of threads while clients take all of its files: calls go on, it
// says what it has too little of, and is not killed. (F35)
func TestScarceAgent(t *testing.T) {
	m := testmesh.New(t)
	api := m.Join(t, "api")
	service(t, api, "0.0.0.0")
	web := m.Join(t, "web")
	m.Allow(t, "web", "api")
	web.WaitAnswer(t, "http://api.mesh/")
	web.AgentProgram().Kill(t) // Envoy stays, and is not of the scarce group

	var admit strings.Builder
	group := func(controller string, limits map[string]string) string {
		dir := filepath.Join("/sys/fs/cgroup", controller, fmt.Sprintf("weft-e2e-%d", os.Getpid()))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatalf("a cgroup of %s: %v", controller, err)
		}
		t.Cleanup(func() { _ = os.Remove(dir) })
		for file, value := range limits {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(value), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		fmt.Fprintf(&admit, "echo $$ > %s/cgroup.procs\n", dir)
		return dir
	}
	memory := group("memory", map[string]string{"memory.limit_in_bytes": fmt.Sprint(32 << 20)})
	group("pids", map[string]string{"pids.max": "40"})
	agent := testmesh.Start(t, web.Host, "sh", "-ec", admit.String()+
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
	web.WaitAnswer(t, "http://api.mesh/")
	if out, err := web.Agent(t, "doctor"); err == nil || !strings.Contains(out, "LimitNOFILE=") || !strings.Contains(out, "MemoryMax=") {
		t.Errorf("doctor does not say what there is too little of:\n%s", out)
	}
	killed, err := os.ReadFile(filepath.Join(memory, "memory.oom_control"))
	if err != nil || !strings.Contains(string(killed), "oom_kill 0") {
		t.Errorf("the kernel killed for want of memory: %s (%v)", killed, err)
	}
	agent.Stop(t)
}
