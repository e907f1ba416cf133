//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/internal/testnet"
)

// awaitLook makes the host's agent look at its redirection, and waits until it
// has looked.
func awaitLook(t *testing.T, h *testmesh.Host) {
	t.Helper()
	since := time.Now()
	h.Run(t, "nft", "add table inet weft; delete table inet weft")
	testmesh.Eventually(t, "the agent looks at its redirection", func() error {
		if looked := h.Status(t).Kept.Looked; !looked.After(since) {
			return fmt.Errorf("last at %s", looked)
		}
		return nil
	})
}

// TestRedirectionIsKept has an agent mend what others undo, and leave off what
// its owner took off.
func TestRedirectionIsKept(t *testing.T) {
	m := testmesh.New(t)
	web := m.Join(t, "web")
	status := func() string {
		out, _ := web.Agent(t, "status")
		return out
	}
	// undo has somebody undo the redirection and the agent mend it. That it
	// hears of changes comes a moment after the rules, and one of its looks may
	// mend what a command is about to put in force.
	undo := func(what string, args ...string) {
		t.Helper()
		testmesh.Eventually(t, "the agent hears of changes", func() error {
			if kept := web.Status(t).Kept; !kept.Notified {
				return fmt.Errorf("it says %+v", kept)
			}
			return nil
		})
		before := web.Status(t).Kept.Mends
		web.Run(t, "nft", args...)
		testmesh.Eventually(t, what+" is mended and told", func() error {
			if out := status(); !strings.Contains(out, "mended ") || !strings.Contains(out, "after nft (pid ") || web.Status(t).Kept.Mends <= before {
				return fmt.Errorf("status says\n%s", out)
			}
			if out, err := web.Agent(t, "redirect", "check"); err != nil {
				return fmt.Errorf("check: %w\n%s", err, out)
			}
			return nil
		})
	}
	undo("the flush", "flush", "ruleset")

	off := func() {
		t.Helper()
		if out := web.Run(t, "nft", "list", "ruleset"); strings.Contains(out, "weft") {
			t.Errorf("what was taken off is there:\n%s", out)
		}
		if out := status(); !strings.Contains(out, "by weft-agent redirect remove") || !strings.Contains(out, "weft-agent redirect apply turns it on") {
			t.Errorf("status does not say why:\n%s", out)
		}
		if out, err := web.Agent(t, "redirect", "check"); err == nil {
			t.Errorf("check is content with a redirection that is off:\n%s", out)
		}
	}
	if out, err := web.Agent(t, "redirect", "remove"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	awaitLook(t, web)
	off()
	web.AgentProgram().Kill(t)
	program := web.StartAgent(t)
	testmesh.Eventually(t, "the new agent says that it leaves it off", func() error {
		if !strings.Contains(program.Output(), "traffic was not redirected") {
			return fmt.Errorf("it says\n%s", program.Output())
		}
		return nil
	})
	off()
	if out, err := web.Agent(t, "redirect", "apply"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	web.WaitWell(t)
	undo("it", "delete", "table", "inet", "weft")
}

// TestOpenIsASetting has hosts without agent or with a hung Envoy open or stay
// closed, as their owners chose.
func TestOpenIsASetting(t *testing.T) {
	t.Parallel() // it waits most of the time
	m := testmesh.New(t)
	const lease = 2 * time.Second
	open := m.NewHost(t, "open")
	open.JoinMesh(t, m.JoinToken(t, "open"), "--fail-open", lease.String())
	open.StartAgent(t)
	open.WaitWell(t)
	closed := m.Join(t, "closed")
	service(t, open, "0.0.0.0")
	stranger := m.Net.Host("stranger")
	at := netip.AddrPortFrom(stranger.IP4, 80).String()
	stranger.Listen(t, at).Serve(func(*testnet.Conn) string { return "stranger" })
	calls := func(h *testmesh.Host) error {
		c, err := h.TryDial("tcp", at)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(lease))
		b, err := io.ReadAll(c)
		if err == nil && string(b) != "stranger" {
			err = fmt.Errorf("answered by %q", b)
		}
		return err
	}
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%s: %v, want it refused", what, err)
		}
	}
	for _, h := range []*testmesh.Host{open, closed} {
		testmesh.Eventually(t, h.Service+" calls through its Envoy", func() error { return calls(h) })
		killed := time.Now()
		h.KillAll(t)
		testmesh.Eventually(t, h.Service+" is closed when Envoy has ended with its agent", func() error {
			err := calls(h)
			if errors.Is(err, unix.ECONNREFUSED) || h == open && time.Since(killed) > lease { // a machine that stood still may miss it
				return nil
			}
			return errors.Join(errors.New("a call was not refused"), err)
		})
	}
	killed := time.Now()
	testmesh.Eventually(t, "the fail-open host calls directly", func() error { return calls(open) })
	t.Logf("open %s after both agents were killed, with a lease of %s", time.Since(killed).Round(time.Millisecond), lease)
	refused("the other host calls", calls(closed))
	_, err := stranger.TryDial("tcp", netip.AddrPortFrom(open.IP4, 8080).String())
	refused("a stranger calls the open host's service", err)
	if out, err := open.Agent(t, "status"); err == nil || !strings.Contains(out, "outbound and DNS go out around Envoy") {
		t.Errorf("status does not say that the host is open: %v\n%s", err, out)
	}

	program := open.StartAgent(t)
	open.WaitWell(t)
	envoy := open.Status(t).Envoy.PID
	if err := unix.Kill(envoy, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	testmesh.Eventually(t, "the agent says that it does not renew the lease", func() error {
		if out := program.Output(); !strings.Contains(out, "lease was not renewed") {
			return fmt.Errorf("it says\n%s", out)
		}
		return nil
	})
	testmesh.Eventually(t, "a host whose Envoy hangs calls directly", func() error { return calls(open) })
	if err := unix.Kill(envoy, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	open.WaitWell(t)
}

// TestTrial has a redirection on trial mended while it lasts, left off when
// nobody confirmed it, and kept when somebody did.
func TestTrial(t *testing.T) {
	m := testmesh.New(t)
	web := m.Join(t, "web")
	agent := func(args ...string) string {
		t.Helper()
		out, err := web.Agent(t, append([]string{"redirect"}, args...)...)
		if err != nil {
			t.Fatalf("redirect %q: %v\n%s", args, err, out)
		}
		return out
	}
	checkSays := func(words string) {
		t.Helper()
		testmesh.Eventually(t, "check says: "+words, func() error {
			if out, _ := web.Agent(t, "redirect", "check"); !strings.Contains(out, words) {
				return fmt.Errorf("it says\n%s", out)
			}
			return nil
		})
	}
	agent("apply", "--confirm-within", "10m")
	checkSays("on trial until")
	web.Run(t, "nft", "flush", "ruleset")
	checkSays("as it should be")
	if out := web.Run(t, "nft", "list", "ruleset"); !strings.Contains(out, "@trial") {
		t.Errorf("the agent mended without the trial:\n%s", out)
	}
	agent("apply", "--confirm-within", "2s")
	checkSays("as nobody confirmed it in time; weft-agent redirect apply starts again")
	web.Run(t, "nft", "delete", "table", "inet", "weft")
	awaitLook(t, web)
	if out := web.Run(t, "nft", "list", "ruleset"); strings.Contains(out, "weft") {
		t.Errorf("the agent mended what is off:\n%s", out)
	}
	if out, err := web.Agent(t, "redirect", "confirm"); err == nil {
		t.Errorf("a trial that is over was confirmed:\n%s", out)
	}
	agent("apply", "--confirm-within", "10m")
	agent("confirm")
	web.WaitWell(t)
	if out := web.Run(t, "nft", "list", "ruleset"); strings.Contains(out, "@trial") {
		t.Errorf("confirmed, there is:\n%s", out)
	}
}
