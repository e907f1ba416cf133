//go:build linux

// Package testmesh gives tests a whole mesh: the real programs, as their users
// run them, on hosts of package testnet.
package testmesh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/internal/testnet"
)

// patience is how long a test waits for what must come.
const patience = time.Minute

// A Mesh is a control plane and the hosts that joined it.
type Mesh struct {
	Net  *testnet.Net
	CP   *testnet.Host
	Dir  string
	cp   *Program
	args []string
}

// New starts a control plane on a host of its own. args are further flags of
// weft-cp run.
func New(t testing.TB, args ...string) *Mesh {
	t.Helper()
	n := testnet.New(t)
	m := &Mesh{Net: n, CP: n.Host("cp"), Dir: envoytest.Dir(t), args: args}
	m.StartControlPlane(t)
	return m
}

// StartControlPlane starts the control plane again after StopControlPlane.
func (m *Mesh) StartControlPlane(t testing.TB) {
	t.Helper()
	args := append([]string{"run", "--data-dir", filepath.Join(m.Dir, "cp"), "--api-socket", m.socket()}, m.args...)
	m.cp = Start(t, m.CP, Binary(t, "weft-cp"), args...)
	Eventually(t, "the control plane answers", func() error {
		_, err := m.TryCtl(t, "get", "meshes")
		return err
	})
}

// RestartControlPlane kills the control plane and starts it with other flags.
func (m *Mesh) RestartControlPlane(t testing.TB, args ...string) {
	t.Helper()
	m.StopControlPlane(t)
	m.args = args
	m.StartControlPlane(t)
}

// StopControlPlane kills the control plane at once.
func (m *Mesh) StopControlPlane(t testing.TB) { m.cp.Kill(t) }

// ControlPlane is the program.
func (m *Mesh) ControlPlane() *Program { return m.cp }

func (m *Mesh) socket() string { return filepath.Join(m.Dir, "api.sock") }

// Ctl runs weftctl on the control plane's host and returns what it printed.
func (m *Mesh) Ctl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := m.TryCtl(t, args...)
	if err != nil {
		t.Fatalf("weftctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// TryCtl is Ctl for what may fail.
func (m *Mesh) TryCtl(t testing.TB, args ...string) (string, error) {
	t.Helper()
	return m.CP.TryRun(t, Binary(t, "weftctl"), append([]string{"--server", "unix://" + m.socket()}, args...)...)
}

// Apply puts resources.
func (m *Mesh) Apply(t testing.TB, yaml string) string {
	t.Helper()
	return m.CP.Pipe(t, yaml, Binary(t, "weftctl"), "--server", "unix://"+m.socket(), "apply", "-f", "-")
}

// Allow applies a TrafficPermission from one service to another.
func (m *Mesh) Allow(t testing.TB, from, to string) {
	t.Helper()
	m.Apply(t, fmt.Sprintf(`type: TrafficPermission
mesh: default
name: %s-to-%s
sources: [{match: {kuma.io/service: %s}}]
destinations: [{match: {kuma.io/service: %s}}]
`, from, to, from, to))
}

// JoinToken makes a token for one service.
func (m *Mesh) JoinToken(t testing.TB, service string, args ...string) string {
	t.Helper()
	address := fmt.Sprintf("%s:5678", m.CP.IP4)
	return strings.TrimSpace(m.Ctl(t, append([]string{"join-token", "--tag", "kuma.io/service=" + service, "--address", address}, args...)...))
}

// A Host is a host with an agent.
type Host struct {
	*testnet.Host
	Service string
	Dir     string
	agent   *Program
	watched bool // its Envoys end with the test that started the first agent
	m       *Mesh
}

// NewHost makes a host that has not joined.
func (m *Mesh) NewHost(t testing.TB, service string) *Host {
	t.Helper()
	h := &Host{Host: m.Net.Host(service), Service: service, Dir: envoytest.Dir(t), m: m}
	h.UseResolver(t, fmt.Sprintf("nameserver %s\n", m.CP.IP4))
	return h
}

// Beside is another agent on the same host, for another service. It has not
// joined.
func (h *Host) Beside(t testing.TB, service string) *Host {
	t.Helper()
	return &Host{Host: h.Host, Service: service, Dir: envoytest.Dir(t), m: h.m}
}

// Join makes a host, joins it as service on port 8080 and starts its agent.
func (m *Mesh) Join(t testing.TB, service string, args ...string) *Host {
	t.Helper()
	h := m.NewHost(t, service)
	h.JoinMesh(t, m.JoinToken(t, service), args...)
	h.StartAgent(t)
	h.WaitWell(t)
	return h
}

// JoinArgs are the arguments by which this host joins.
func (h *Host) JoinArgs(t testing.TB, token string, args ...string) []string {
	t.Helper()
	return append([]string{
		"join", token, "--service", h.Service, "--port", "8080", "--protocol", "http", "--name", h.Service + "-1",
		"--config", h.Config(), "--state-dir", filepath.Join(h.Dir, "state"), "--run-dir", filepath.Join(h.Dir, "run"),
		"--envoy", envoytest.Binary(t),
	}, args...)
}

// JoinMesh runs weft-agent join.
func (h *Host) JoinMesh(t testing.TB, token string, args ...string) {
	t.Helper()
	h.Run(t, Binary(t, "weft-agent"), h.JoinArgs(t, token, args...)...)
}

// Config is the agent's configuration file.
func (h *Host) Config() string { return filepath.Join(h.Dir, "agent.yaml") }

// Agent runs weft-agent with this host's configuration and returns what it printed.
func (h *Host) Agent(t testing.TB, args ...string) (string, error) {
	t.Helper()
	return h.TryRun(t, Binary(t, "weft-agent"), append(args, "--config", h.Config())...)
}

// StartAgent starts weft-agent run. What it leaves behind, as Envoy goes on
// without it, ends with the test.
func (h *Host) StartAgent(t testing.TB, args ...string) *Program {
	t.Helper()
	h.OutliveNot(t)
	return h.StartAgentOf(t, Binary(t, "weft-agent"), args...)
}

// OutliveNot has this host's Envoys end with the test, where its agent is
// started by other means than StartAgent. It comes before that.
func (h *Host) OutliveNot(t testing.TB) {
	t.Helper()
	if h.watched {
		return
	}
	h.watched = true
	end := h.watchOver(t)
	t.Cleanup(func() {
		h.endEnvoys(t)
		end()
		h.watched = false
	})
}

// StartAgentOf is StartAgent with another binary.
func (h *Host) StartAgentOf(t testing.TB, binary string, args ...string) *Program {
	t.Helper()
	h.agent = Start(t, h.Host, binary, append([]string{"run", "--config", h.Config()}, args...)...)
	return h.agent
}

// AgentProgram is the agent that StartAgent started.
func (h *Host) AgentProgram() *Program { return h.agent }

// WaitWell waits until weft-agent status has no fault.
func (h *Host) WaitWell(t testing.TB) {
	t.Helper()
	Eventually(t, "host "+h.Name+" is well", func() error {
		out, err := h.Agent(t, "status")
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	})
}

// Curl calls as a program of this host does: by name, through libc and no
// setting of a proxy. It returns status code and body.
func (h *Host) Curl(t testing.TB, args ...string) (code, body string, err error) {
	t.Helper()
	out, err := h.TryRun(t, "curl", append([]string{"--silent", "--show-error", "--max-time", "15", "--write-out", "\n%{http_code}"}, args...)...)
	body, code, _ = cutLast(out, "\n")
	return code, body, err
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// WaitAnswer calls until the answer is 200, and returns the body.
func (h *Host) WaitAnswer(t testing.TB, args ...string) (body string) {
	t.Helper()
	Eventually(t, fmt.Sprintf("host %s gets 200 from %s", h.Name, args[len(args)-1]), func() error {
		code, b, err := h.Curl(t, args...)
		if err != nil || code != "200" {
			return fmt.Errorf("code %s, error %w, body %s", code, err, b)
		}
		body = b
		return nil
	})
	return body
}

// Eventually waits until f succeeds, and fails the test with f's last error.
func Eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %s until %s; last: %v", patience, what, err)
		}
		<-tick.C
	}
}

// A Program is one that was started on a host and is ended with the test.
type Program struct {
	cmd  *exec.Cmd
	name string
	done chan struct{}
	err  error // after done
	out  *output
}

// output is what a program wrote, for reading while it writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Start starts a program on a host. It is stopped with the test, and what it
// wrote is shown where the test failed.
func Start(t testing.TB, h *testnet.Host, name string, args ...string) *Program {
	t.Helper()
	p := &Program{name: h.Name + ": " + filepath.Base(name), done: make(chan struct{}), out: new(output)}
	p.cmd = h.Command(context.WithoutCancel(t.Context()), name, args...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := h.Start(p.cmd); err != nil {
		t.Fatalf("start %s: %v", p.name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.Stop(t)
		if t.Failed() {
			t.Logf("--- %s wrote:\n%s", p.name, p.out)
		}
	})
	return p
}

// PID is the program's.
func (p *Program) PID() int { return p.cmd.Process.Pid }

// Done is closed when the program has ended.
func (p *Program) Done() <-chan struct{} { return p.done }

// Output is what it wrote until now.
func (p *Program) Output() string { return p.out.String() }

// Stop ends the program by SIGTERM and waits for it.
func (p *Program) Stop(t testing.TB) {
	t.Helper()
	p.end(t, syscall.SIGTERM)
}

// Kill ends the program by SIGKILL and waits for it.
func (p *Program) Kill(t testing.TB) {
	t.Helper()
	p.end(t, syscall.SIGKILL)
}

func (p *Program) end(t testing.TB, sig os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("end %s: %v", p.name, err)
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Errorf("%s did not end within %s", p.name, patience)
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// Wait waits for the program's own end and returns its exit code.
func (p *Program) Wait(t testing.TB) int {
	t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatalf("%s still runs after %s", p.name, patience)
		return -1
	}
}
