//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect/cgroup"
)

// TestTwoWorkloadsOnOneHost has a unit and a user of one host call as two
// services, each by a proxy and an identity of its own, and everybody else go
// where he went before.
func TestTwoWorkloadsOnOneHost(t *testing.T) {
	for _, engine := range []string{"auto", "iptables"} {
		t.Run(engine, func(t *testing.T) { twoWorkloads(t, engine) })
	}
}

func twoWorkloads(t *testing.T, engine string) {
	m := testmesh.New(t)
	api := m.Join(t, "api")
	service(t, api, "0.0.0.0")
	unit := newUnit(t)
	web := m.Join(t, "web", "--redirect-engine", engine, "--only", "unit:"+unit.name, "--forwarded", "docker0")
	batch := web.Beside(t, "batch")
	batch.JoinMesh(t, m.JoinToken(t, "batch"), "--redirect-engine", engine, "--only", "user:nobody", "--port", "8081",
		"--redirect-table", "weft-batch", "--inbound-port", "16006", "--outbound-port", "16001", "--dns-port", "16053", "--envoy-dns-port", "16054")
	batch.StartAgent(t)
	batch.WaitWell(t)
	m.Apply(t, `type: TrafficPermission
mesh: default
name: to-api
sources: [{match: {kuma.io/service: web}}, {match: {kuma.io/service: batch}}]
destinations: [{match: {kuma.io/service: api}}]
`)

	const call = "curl --silent --show-error --fail --max-time 2 http://api.mesh/"
	admitted := "echo $$ > " + unit.procs() + " && exec " + call
	asNobody := "exec setpriv --reuid nobody --clear-groups " + call
	arrives := func(script, identity string) error {
		out, err := web.TryRun(t, "sh", "-ec", script)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		if got := parse(t, out).Headers["x-forwarded-client-cert"]; !strings.Contains(got, "URI=spiffe://default/"+identity) {
			return fmt.Errorf("the service saw x-forwarded-client-cert %q", got)
		}
		return nil
	}
	calls := func(script, identity string) {
		t.Helper()
		testmesh.Eventually(t, script+" arrives as "+identity, func() error { return arrives(script, identity) })
	}
	calls(admitted, "web")
	calls(asNobody, "batch")
	if out, err := web.TryRun(t, "sh", "-ec", strings.Replace(call, "--max-time 2", "--max-time 1", 1)); err == nil {
		t.Errorf("who is in no scope got %s", out)
	}

	// A unit that is started again is in a folder made anew.
	unit.remove(t)
	unit.make(t)
	calls(admitted, "web")

	// One that has the rules put in force before its first process, by
	// ExecStartPre=, is redirected from its first call on.
	unit.remove(t)
	unit.make(t)
	before := "echo $$ > " + unit.procs() + " && " + testmesh.Binary(t, "weft-agent") + " redirect apply --last --config " + web.Config() + " >/dev/null"
	if err := arrives(before+" && exec "+strings.Replace(call, "--max-time 2", "--max-time 30", 1), "web"); err != nil {
		t.Errorf("the first call of a unit that put the rules in force first: %v", err)
	}

	// What docker0 forwards is called by the proxy of the agent that names it.
	stranger := m.Net.Host("stranger")
	at := netip.AddrPortFrom(stranger.IP4, 80)
	stranger.Listen(t, at.String()).Serve(func(c *testnet.Conn) string { return c.Remote().Addr().String() })
	container := m.Net.Host("container")
	pid := strconv.Itoa(testmesh.Start(t, container, "sleep", "600").PID())
	web.Run(t, "sh", "-ec", "ip link add docker0 type veth peer name eth1 netns "+pid+"; ip addr add 172.17.0.1/24 dev docker0; ip link set docker0 up")
	container.Run(t, "sh", "-ec", "ip addr add 172.17.0.2/24 dev eth1; ip link set eth1 up; ip route add "+stranger.IP4.String()+" via 172.17.0.1")
	testmesh.Eventually(t, "a container calls through its host's proxy", func() error {
		c, err := container.TryDial("tcp", at.String())
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(testnet.Patience))
		from, err := io.ReadAll(c)
		if err == nil && string(from) != web.IP4.String() {
			err = fmt.Errorf("the stranger was called from %s, want the host's %s", from, web.IP4)
		}
		return err
	})

	for _, h := range []*testmesh.Host{web, batch} {
		testmesh.Eventually(t, "the redirection is as it should be", func() error {
			out, err := h.Agent(t, "redirect", "check")
			if err != nil {
				return fmt.Errorf("%w\n%s", err, out)
			}
			return nil
		})
		if out, err := h.Agent(t, "leave"); err != nil {
			t.Errorf("%s: %v\n%s", h.Service, err, out)
		}
	}
	if left := web.Run(t, "sh", "-ec", "nft list ruleset; iptables-save; ip6tables-save; ip route; ip -6 route"); strings.Contains(strings.ToLower(left), "weft") || strings.Contains(left, "proto 87") {
		t.Errorf("after leaving there is\n%s", left)
	}
}

// A unit is a service of systemd's, as the cgroup tree shows it.
type unit struct {
	name string
	dir  string
}

func newUnit(t *testing.T) unit {
	t.Helper()
	root, err := cgroup.Root()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("weft-e2e-%d.service", os.Getpid())
	slice := filepath.Join(root, fmt.Sprintf("weft-e2e-%d.slice", os.Getpid()))
	u := unit{name: name, dir: filepath.Join(slice, name)}
	if err := os.Mkdir(slice, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(slice) })
	u.make(t)
	t.Cleanup(func() { _ = os.Remove(u.dir) })
	return u
}

func (u unit) procs() string { return filepath.Join(u.dir, "cgroup.procs") }

func (u unit) make(t *testing.T) {
	t.Helper()
	if err := os.Mkdir(u.dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

// remove waits until the kernel has forgotten the last process.
func (u unit) remove(t *testing.T) {
	t.Helper()
	testmesh.Eventually(t, "the unit has ended", func() error {
		if err := os.Remove(u.dir); errors.Is(err, unix.EBUSY) {
			return err
		} else if err != nil {
			t.Fatal(err)
		}
		return nil
	})
}
