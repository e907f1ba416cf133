//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/weft-mesh/weft/internal/testmesh"
)

// TestWorkloadsOfOneAgent has one agent serve two users of a host as two
// services: each has its identity, and a permission lets one of them through.
// The second comes, is refused, changes and goes while the agent runs.
func TestWorkloadsOfOneAgent(t *testing.T) {
	m := testmesh.New(t)
	api := m.Join(t, "api")
	service(t, api, "0.0.0.0")
	host := m.Join(t, "web", "--only", "user:nobody")
	m.Apply(t, "type: TrafficPermission\nmesh: default\nname: allow-all-default\nsources: [{match: {kuma.io/service: web}}]\ndestinations: [{match: {kuma.io/service: api}}]\n")
	join := func(args ...string) (string, error) {
		return host.TryRun(t, testmesh.Binary(t, "weft-agent"), append([]string{"join", m.JoinToken(t, "batch"), "--workload", "batch",
			"--service", "batch", "--port", "8081", "--protocol", "http", "--name", "batch-1", "--config", host.Config()}, args...)...)
	}
	call := func(user string) string {
		out, _ := host.TryRun(t, "setpriv", "--reuid", user, "--clear-groups", "curl", "--silent", "--max-time", "3", "--write-out", "\n%{http_code}", "http://api.mesh/")
		return out
	}
	arrives := func(user, code, identity string) {
		t.Helper()
		testmesh.Eventually(t, fmt.Sprintf("%s gets %s", user, code), func() error {
			out := call(user)
			body, got, _ := strings.Cut(out, "\n")
			if got != code {
				return fmt.Errorf("got %s", out)
			}
			if identity == "" {
				return nil
			}
			if seen := parse(t, body).Headers["x-forwarded-client-cert"]; !strings.Contains(seen, "URI=spiffe://default/"+identity) {
				return fmt.Errorf("the service saw x-forwarded-client-cert %q", seen)
			}
			return nil
		})
	}
	says := func(words string) {
		t.Helper()
		testmesh.Eventually(t, fmt.Sprintf("status says %q", words), func() error {
			out, err := host.Agent(t, "status")
			if !strings.Contains(out, words) {
				return fmt.Errorf("%w\n%s", err, out)
			}
			return nil
		})
	}
	arrives("nobody", "200", "web")

	// What overlaps is refused, and nothing is there of it.
	before := read(t, host.Dir, "agent.yaml")
	out, err := join("--only", "user:nobody")
	if err == nil || !strings.Contains(out, "the workload at the top redirects already what this one would: calls of user") {
		t.Errorf("an overlapping scope: %v\n%s", err, out)
	}
	if out, err := join(); err == nil || !strings.Contains(out, "everybody's calls") {
		t.Errorf("no scope at all: %v\n%s", err, out)
	}
	if after := read(t, host.Dir, "agent.yaml"); after != before {
		t.Errorf("a refused join wrote\n%s", after)
	}
	if left := host.Run(t, "sh", "-c", "ls "+host.Dir+"/state; nft list tables"); strings.Contains(left, "workloads") || strings.Contains(left, "weft-batch") {
		t.Errorf("a refused join left\n%s", left)
	}

	// One that joins is served at once, beside the other.
	if out, err := join("--only", "user:daemon"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	says("dataplane batch-1 of mesh default")
	host.WaitWell(t)
	arrives("nobody", "200", "web")
	arrives("daemon", "503", "")
	m.Apply(t, "type: TrafficPermission\nmesh: default\nname: allow-all-default\nsources: [{match: {kuma.io/service: batch}}]\ndestinations: [{match: {kuma.io/service: api}}]\n")
	arrives("daemon", "200", "batch")
	arrives("nobody", "503", "")

	// The file is read when it changes: who is in a scope, and what is wrong.
	joined := read(t, host.Dir, "agent.yaml")
	replace(t, host.Config(), strings.Replace(joined, "user:daemon", "user:bin", 1))
	arrives("bin", "200", "batch")
	testmesh.Eventually(t, "who has left the scope goes without a proxy", func() error {
		if out := call("daemon"); !strings.HasSuffix(out, "\n000") {
			return fmt.Errorf("got %s", out)
		}
		return nil
	})
	replace(t, host.Config(), strings.Replace(joined, "user:daemon", "user:nobody", 1)+"colour: red\n")
	says("colour: unknown setting")
	arrives("bin", "200", "batch")
	replace(t, host.Config(), strings.Replace(joined, "user:daemon", "user:nobody", 1))
	says("calls of user")
	replace(t, host.Config(), strings.Replace(joined, "workloads:", "readyPort: 15021\nworkloads:", 1))
	says("in force from the next start on: readyPort")
	if err := syscall.Kill(host.AgentProgram().PID(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	testmesh.Eventually(t, "the file is read on SIGHUP", func() error {
		if out := host.AgentProgram().Output(); !strings.Contains(out, "why_read=hangup") {
			return fmt.Errorf("the log says\n%s", out)
		}
		return nil
	})
	arrives("daemon", "200", "batch")

	if out, err := host.Agent(t, "leave", "--workload", "batch"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	m.Apply(t, "type: TrafficPermission\nmesh: default\nname: allow-all-default\nsources: [{match: {kuma.io/service: web}}]\ndestinations: [{match: {kuma.io/service: api}}]\n")
	arrives("nobody", "200", "web")
	host.WaitWell(t)
	if left := host.Run(t, "sh", "-c", "ls "+host.Dir+"/state "+host.Dir+"/run; nft list tables; ss -xlp; cat "+host.Config()); strings.Contains(left, "batch") {
		t.Errorf("after one has left there is\n%s", left)
	}
	if out, err := host.Agent(t, "leave"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if left := host.Run(t, "sh", "-c", "ls "+host.Dir+"; nft list ruleset"); strings.Contains(left, "state") || strings.Contains(left, "weft") {
		t.Errorf("after leaving there is\n%s", left)
	}
}

// replace puts another file in place of one in one step, as careful programs do.
func replace(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path+".new", []byte(text), 0o600), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
}
