//go:build linux

package e2e

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/internal/testmesh"
)

var (
	kills      = flag.Int("life.kills", 30, "how often TestLifeOfKilledAgent kills an agent")
	envoyKills = flag.Int("life.envoykills", 5, "how often TestLifeOfEnvoy kills Envoy; the experiment F05 asks for 100")
	seed       = flag.Uint64("life.seed", uint64(time.Now().UnixNano()), "of the moments at which it does")
)

// sameEnvoy wants exactly one Envoy on a host, and it to be this one.
func sameEnvoy(t *testing.T, h *testmesh.Host, pid int) {
	t.Helper()
	if now := h.Envoys(t); len(now) != 1 || now[0] != pid {
		t.Errorf("host %s has Envoys %v, want %d alone", h.Name, now, pid)
	}
}

// TestLifeOfAgent ends, upgrades and replaces what serves a mesh under load.
func TestLifeOfAgent(t *testing.T) {
	l := newLife(t)
	whole := t
	pids := map[*testmesh.Host]int{}
	for _, h := range []*testmesh.Host{l.web, l.api, l.rpc} {
		pids[h] = h.Status(t).Envoy.PID
	}
	l.step(t, "agents killed and restarted", 0, func(t *testing.T) {
		for h, pid := range pids {
			h.AgentProgram().Kill(t)
			l.load.AwaitMore(t, 20)
			h.StartAgent(whole)
			h.WaitWell(t)
			sameEnvoy(t, h, pid)
		}
	})
	l.step(t, "agents stopped as by systemctl restart", 0, func(t *testing.T) {
		for h, pid := range pids {
			h.AgentProgram().Stop(t)
			l.load.AwaitMore(t, 5)
			h.StartAgent(whole)
			h.WaitWell(t)
			sameEnvoy(t, h, pid)
		}
	})
	l.step(t, "agents upgraded", 0, func(t *testing.T) {
		binary, err := os.ReadFile(testmesh.Binary(t, "weft-agent"))
		if err != nil {
			t.Fatal(err)
		}
		next := filepath.Join(whole.TempDir(), "weft-agent")
		if err := os.WriteFile(next, append(binary, 0), 0o755); err != nil {
			t.Fatal(err)
		}
		for h, pid := range pids {
			h.AgentProgram().Stop(t)
			h.StartAgentOf(whole, next)
			h.WaitWell(t)
			sameEnvoy(t, h, pid)
		}
	})
	// What is under way on the former has 30 s, of which the step takes a few.
	l.step(t, "Envoys replaced by a running agent, for a setting", 0, func(t *testing.T) {
		for h, pid := range pids {
			text, err := os.ReadFile(h.Config())
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(h.Config(), append(text, "envoyConcurrency: 1\n"...), 0o600); err != nil {
				t.Fatal(err)
			}
			testmesh.Eventually(t, "another Envoy serves on "+h.Name, func() error {
				if now := h.Status(t).Envoy.PID; now == pid || now == 0 {
					return fmt.Errorf("pid %d", now)
				}
				return nil
			})
			h.WaitWell(t)
			l.load.AwaitMore(t, 20)
		}
	})
	t.Run("05 Envoy killed", func(t *testing.T) {
		l.load.Take()
		if err := syscall.Kill(l.api.Status(t).Envoy.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		l.load.AwaitMore(t, 20)
		got := l.load.Take()
		t.Logf("%d of %d requests failed\n%s", got.Failed(), got.Requests(), got)
		if gap := got[testmesh.NewConnections].Longest; gap > back {
			t.Errorf("nobody was answered for %s", gap)
		}
	})
}

// TestLifeOfKilledAgent kills an agent at random moments, of its start above
// all, while its configuration changes.
func TestLifeOfKilledAgent(t *testing.T) {
	l := newLife(t)
	pid := l.web.Status(t).Envoy.PID
	ctx, stop := context.WithCancel(t.Context())
	churned := make(chan int)
	go func() {
		n := 0
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			n++
			l.Apply(t, fmt.Sprintf(`type: Timeout
mesh: default
name: churn
sources: [{match: {kuma.io/service: web}}]
destinations: [{match: {kuma.io/service: '*'}}]
conf: {http: {requestTimeout: %ds, streamIdleTimeout: 1h}}
`, 60+n%60))
			<-tick.C
		}
		churned <- n
	}()
	whole := t // what Envoy lives in
	random := rand.New(rand.NewPCG(*seed, 0))
	l.step(t, fmt.Sprintf("agent killed %d times at random, under changes", *kills), 0, func(t *testing.T) {
		for range *kills {
			l.web.AgentProgram().Kill(t)
			sameEnvoy(t, l.web, pid)
			p := l.web.StartAgent(whole)
			select {
			case <-time.After(time.Duration(random.Int64N(int64(900 * time.Millisecond)))):
			case <-ctx.Done():
			}
			if len(p.Output()) == 0 {
				continue
			}
			if strings.Contains(p.Output(), "passed over") {
				t.Errorf("what was kept could not be read:\n%s", p.Output())
			}
		}
		l.web.AgentProgram().Kill(t)
	})
	stop()
	t.Logf("%d changes, seed %d", <-churned, *seed)
	l.web.StartAgent(t)
	l.web.WaitWell(t)
	sameEnvoy(t, l.web, pid)
}

// TestLifeOfEnvoy has Envoy killed, and then a binary that does not run.
func TestLifeOfEnvoy(t *testing.T) {
	m := testmesh.New(t)
	binary := filepath.Join(envoytest.Dir(t), "envoy")
	program, err := os.ReadFile(envoytest.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	put := func(content []byte) {
		t.Helper()
		if err := os.WriteFile(binary+".new", content, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(binary+".new", binary); err != nil {
			t.Fatal(err)
		}
	}
	put(program)
	api := m.Join(t, "api")
	web := m.Join(t, "web", "--envoy", binary)
	service(t, api, "127.0.0.1")
	m.Allow(t, "web", "api")
	web.WaitAnswer(t, "http://api.mesh/")
	stranger := m.Net.Host("stranger")
	service(t, &testmesh.Host{Host: stranger, Service: "stranger"}, "0.0.0.0")
	denied := func(t *testing.T) {
		t.Helper()
		if code, _, err := web.Curl(t, "--max-time", "1", fmt.Sprintf("http://%s:8080/", stranger.IP4)); err == nil {
			t.Errorf("a call went around the mesh and was answered with %s", code)
		}
	}
	whole := t
	t.Run("01 Envoy killed again and again", func(t *testing.T) {
		var longest time.Duration
		for range *envoyKills {
			web.KillEnvoys(t)
			killed := time.Now()
			web.WaitAnswer(t, "http://api.mesh/")
			longest = max(longest, time.Since(killed))
			<-time.After(time.Second) // it lives for so long, else it is a crash loop
		}
		t.Logf("killed %d times: answered again after %s at most", *envoyKills, longest.Round(time.Millisecond))
	})
	bad := []byte("#!/bin/sh\ncase \"$*\" in *--restart-epoch*) echo 'no luck'; exit 1;; esac\nexec " + envoytest.Binary(t) + " \"$@\"\n")
	t.Run("02 another binary, which ends at once: the one before serves, and it is told", func(t *testing.T) {
		put(bad)
		testmesh.Eventually(t, "status tells that it was not replaced", func() error {
			if out, err := web.Agent(t, "status"); err == nil || !strings.Contains(out, "it was to be replaced, but the next one ended with exit status 1") {
				return fmt.Errorf("status says\n%s", out)
			}
			return nil
		})
		web.WaitAnswer(t, "http://api.mesh/")
		web.KillEnvoys(t)
		web.WaitAnswer(t, "http://api.mesh/")
		if out, err := web.Agent(t, "status"); err == nil || !strings.Contains(out, "it is what it was before") {
			t.Errorf("status says\n%s", out)
		}
	})
	t.Run("03 nothing before it: closed, told, tried ever more seldom", func(t *testing.T) {
		web.KillAll(t)
		web.StartAgent(whole)
		testmesh.Eventually(t, "status tells of a crash loop", func() error {
			out, err := web.Agent(t, "status")
			if err == nil || !strings.Contains(out, "crash loop") || !strings.Contains(out, "exit status 1") {
				return fmt.Errorf("status says\n%s", out)
			}
			return nil
		})
		denied(t)
		if starts := strings.Count(web.AgentProgram().Output(), "envoy will be started again"); starts > 12 {
			t.Errorf("it was started %d times", starts)
		}
	})
	t.Run("04 the binary put back: well again, with the same agent", func(t *testing.T) {
		put(program)
		web.WaitAnswer(t, "http://api.mesh/")
		web.WaitWell(t)
	})
}

// TestLifeOfService has a workload that comes after its agent, goes before it,
// and is restarted host by host.
func TestLifeOfService(t *testing.T) {
	m := testmesh.New(t)
	probe := []string{"--service-probe", "http:/load", "--service-probe-interval", "200ms", "--service-probe-unhealthy", "1", "--drain-time", "2s"}
	join := func(name string) *testmesh.Host {
		h := m.NewHost(t, "api")
		h.JoinMesh(t, m.JoinToken(t, "api"), append([]string{"--name", name}, probe...)...)
		h.StartAgent(t)
		return h
	}
	web := m.Join(t, "web")
	hosts := []*testmesh.Host{join("api-1"), join("api-2")}
	m.Allow(t, "web", "api")
	serve := func(t *testing.T, h *testmesh.Host) *testmesh.Program {
		t.Helper()
		script := filepath.Join(h.Dir, "service.py")
		if err := os.WriteFile(script, []byte(answering), 0o600); err != nil {
			t.Fatal(err)
		}
		return testmesh.Start(t, h.Host, "python3", script)
	}
	t.Run("01 agents without their service: not called, and said so", func(t *testing.T) {
		for _, h := range hosts {
			testmesh.Eventually(t, "status says that the service does not answer", func() error {
				if out, _ := h.Agent(t, "status"); !strings.Contains(out, "does not answer its probe") {
					return fmt.Errorf("status says\n%s", out)
				}
				return nil
			})
		}
		testmesh.Eventually(t, "there is no endpoint", func() error {
			if code, body, err := web.Curl(t, "http://api.mesh/load"); code != "503" || !strings.Contains(body, "no healthy upstream") {
				return fmt.Errorf("code %s, %w, %s", code, err, body)
			}
			return nil
		})
	})
	programs := map[*testmesh.Host]*testmesh.Program{}
	whole := t
	t.Run("02 the service comes: called", func(t *testing.T) {
		for _, h := range hosts {
			programs[h] = serve(whole, h)
			h.WaitWell(t)
		}
		web.WaitAnswer(t, "http://api.mesh/load")
	})
	load := testmesh.StartLoad(t, web.Transport(t, "api.mesh"), "http://api.mesh/load", 100)
	t.Run("03 restarted host by host", func(t *testing.T) {
		for _, h := range hosts {
			h.StopAll(t)
			programs[h].Stop(t)
			h.StartAgent(whole)
			programs[h] = serve(whole, h)
			h.WaitWell(t)
		}
	})
	got := load.Stop()
	t.Logf("%d of %d requests failed: %v", got.Total()-got["200"], got.Total(), got)
	if got.Total() < 100 || got["200"] != got.Total() {
		t.Errorf("answers %v, want many of 200 and nothing else", got)
	}
}

// answering is a service that answers everything.
const answering = `
import http.server
class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Service).serve_forever()
`
