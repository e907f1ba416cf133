//go:build linux

package agent

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/proxy"
	"github.com/weft-mesh/weft/pkg/redirect"
)

func TestSwitch(t *testing.T) {
	cfg := joined(t)
	cfg.StateDir = t.TempDir()
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, want := range []Switch{{}, {Off: since}, {Trial: since}, {}, {}} {
		if err := cfg.turn(want); err != nil {
			t.Fatal(err)
		}
		if got, err := cfg.Switch(); err != nil || got != want {
			t.Errorf("read %+v, %v, want %+v", got, err, want)
		}
	}
	if err := os.WriteFile(cfg.switchFile(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := cfg.Switch(); err == nil || !strings.Contains(err.Error(), "weft-agent redirect apply or remove writes it anew") {
		t.Errorf("a broken file: %v", err)
	}
}

// What is removed by command stays off for agents, and apply turns it on.
func TestRemoveTurnsOff(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	cfg := joined(t)
	cfg.StateDir = filepath.Join(t.TempDir(), "state")
	w := &Workload{cfg: cfg}
	w.now.Store(&cfg)
	in := func(f func() error) {
		t.Helper()
		if err := h.Do(f); err != nil {
			t.Fatal(err)
		}
	}
	wanted := func(want bool) {
		t.Helper()
		if _, on, err := w.wanted(); on != want || err != nil {
			t.Errorf("an agent wants it: %t, %v, want %t", on, err, want)
		}
	}
	in(func() error { return RemoveRedirection(t.Context(), cfg) }) // never joined
	if _, err := os.Stat(cfg.switchFile()); err == nil {
		t.Error("a host that never joined was written to")
	}
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	in(func() error { _, err := ApplyRedirection(t.Context(), cfg, 0); return err })
	wanted(true)
	in(func() error { return RemoveRedirection(t.Context(), cfg) })
	wanted(false)
	before, err := cfg.Switch()
	if err != nil {
		t.Fatal(err)
	}
	in(func() error { return RemoveRedirection(t.Context(), cfg) })
	if again, err := cfg.Switch(); err != nil || again != before {
		t.Errorf("removed twice: %v, %v, want %v", again, err, before)
	}
	if out := h.Run(t, "nft", "list", "ruleset"); strings.Contains(out, "weft") {
		t.Errorf("left:\n%s", out)
	}
	h.Run(t, "nft", "add table inet weft; add chain inet weft theirs")
	if err := h.Do(func() error { _, err := ApplyRedirection(t.Context(), cfg, 0); return err }); err == nil {
		t.Error("somebody else's table was taken")
	}
	wanted(false) // what could not be turned on is off
	h.Run(t, "nft", "delete", "table", "inet", "weft")
	in(func() error { _, err := ApplyRedirection(t.Context(), cfg, 0); return err })
	wanted(true)
}

// A trial ends by itself, for the agent too; a confirmed one stays; and only
// what was tried can be confirmed.
func TestTrial(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	cfg := joined(t)
	cfg.StateDir = t.TempDir()
	w := &Workload{cfg: cfg}
	w.now.Store(&cfg)
	begin := func(within time.Duration) {
		t.Helper()
		if err := h.Do(func() error { _, err := ApplyRedirection(t.Context(), cfg, within); return err }); err != nil {
			t.Fatal(err)
		}
	}
	confirm := func(cfg Config, want string) {
		t.Helper()
		err := h.Do(func() error { _, err := ConfirmRedirection(t.Context(), cfg); return err })
		if want == "" && err != nil || want != "" && (!errors.Is(err, ErrNoTrial) || !strings.Contains(err.Error(), want)) {
			t.Errorf("confirm: %v, want %q", err, want)
		}
	}
	look := func() (s Switch, differences int) {
		t.Helper()
		if err := h.Do(func() error {
			state, d, err := CheckRedirection(t.Context(), cfg)
			s, differences = state, len(d)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return s, differences
	}
	confirm(cfg, "the redirection is on; begin one")

	begin(time.Hour) // the end is waited for below
	if rules, on, _ := w.wanted(); !on || rules.ConfirmWithin == 0 || rules.ConfirmWithin > time.Hour {
		t.Errorf("during a trial the agent wants %t, for %s", on, rules.ConfirmWithin)
	}
	if s, d := look(); d > 0 || !s.On(time.Now()) {
		t.Errorf("during a trial: %d differences, %s", d, s.Text(time.Now()))
	}
	begin(time.Second)
	for late := time.After(testnet.Patience); ; {
		if _, on, _ := w.wanted(); !on {
			break
		}
		select {
		case <-late:
			t.Fatal("the trial does not end")
		default:
		}
	}
	confirm(cfg, "the trial is over")
	if s, _ := look(); !strings.Contains(s.Text(time.Now()), "as nobody confirmed it in time") {
		t.Errorf("after a trial: %s", s.Text(time.Now()))
	}

	begin(time.Hour)
	other := cfg
	other.Port = 9090
	confirm(other, "what was tried is not what the configuration wants now")
	confirm(cfg, "")
	if s, d := look(); d > 0 || s != (Switch{}) {
		t.Errorf("confirmed: %d differences, %s", d, s.Text(time.Now()))
	}
	if rules, on, _ := w.wanted(); !on || rules.ConfirmWithin != 0 {
		t.Errorf("confirmed, the agent wants %t, for %s", on, rules.ConfirmWithin)
	}
	if out := h.Run(t, "nft", "list", "ruleset"); strings.Contains(out, "trial") {
		t.Errorf("confirmed, there is:\n%s", out)
	}

	begin(time.Hour)
	h.Run(t, "nft", "flush", "set", "inet", "weft", "trial")
	if _, d := look(); d != 1 {
		t.Errorf("a trial that somebody ended is told as %d differences", d)
	}
	confirm(cfg, "the trial is over")
	if err := h.Do(func() error { _, err := ApplyRedirection(t.Context(), cfg, time.Millisecond); return err }); !errors.Is(err, redirect.ErrInvalid) {
		t.Errorf("a trial of a millisecond: %v", err)
	}
}

// Another engine takes over while calls go on, none of which passes the proxy
// by, and a removal needs not know whose rules are there.
func TestEnginesTakeTurns(t *testing.T) {
	hosts := testnet.Hosts(t, 2)
	h, server := hosts[0], hosts[1]
	cfg := joined(t)
	cfg.StateDir = t.TempDir()
	says := func(l *testnet.Listener, who string) { l.Serve(func(*testnet.Conn) string { return who }) }
	says(h.Listen(t, "127.0.0.1:15001"), "proxy")
	to := netip.AddrPortFrom(server.IP4, 80).String()
	says(server.Listen(t, to), "server")
	call := func() (string, error) {
		c, err := h.TryDial("tcp", to)
		if err != nil {
			return "", err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(testnet.Patience))
		b, err := io.ReadAll(c)
		return string(b), err
	}
	apply := func(engine string) {
		t.Helper()
		cfg.RedirectEngine = engine
		if err := h.Do(func() error { _, err := ApplyRedirection(t.Context(), cfg, 0); return err }); err != nil {
			t.Fatal(err)
		}
	}
	held := func() (by []string) {
		t.Helper()
		for _, e := range []struct{ name, program, sign string }{
			{"nftables", "nft list ruleset", "table inet weft"}, {"iptables", "iptables-save; ip6tables-save", "WEFT."},
		} {
			if out := h.Run(t, "sh", "-ec", e.program); strings.Contains(out, e.sign) {
				by = append(by, e.name)
			}
		}
		return by
	}
	apply("iptables")
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ; n++ {
			if who, err := call(); who != "proxy" {
				t.Errorf("call %d was answered by %q, %v", n, who, err)
			}
			select {
			case <-stop:
				t.Logf("%d calls", n+1)
				return
			default:
			}
		}
	}()
	for range 3 {
		for _, engine := range []string{"nftables", "iptables", engineAuto} {
			apply(engine)
			want := engine
			if engine == engineAuto {
				want = "nftables"
			}
			if by := held(); len(by) != 1 || by[0] != want {
				t.Errorf("after %s there are rules by %v", engine, by)
			}
			if routes := h.Run(t, "ip", "route"); !strings.Contains(routes, proxy.VIP4.String()+" dev lo proto 87") {
				t.Errorf("after %s the route to services is gone:\n%s", engine, routes)
			}
		}
	}
	close(stop)
	<-done
	cfg.RedirectEngine = "iptables"
	if err := h.Do(func() error { return RemoveRedirection(t.Context(), cfg) }); err != nil {
		t.Fatal(err)
	}
	if by, routes := held(), h.Run(t, "ip", "route"); len(by) > 0 || strings.Contains(routes, "proto 87") {
		t.Errorf("after removal there are rules by %v, routes\n%s", by, routes)
	}
	if who, err := call(); who != "server" {
		t.Errorf("after removal a call is answered by %q, %v", who, err)
	}
}
