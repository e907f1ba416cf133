//go:build linux

package nftables

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
)

func TestBadInputTouchesNothing(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	bad := everything()
	bad.Marks.Agent = bad.Marks.Inbound
	for _, c := range []struct {
		name   string
		before string // what the host's owner did
		ctx    context.Context
		rules  redirect.Rules
		is     error
		says   string
	}{
		{"invalid rules", "true", t.Context(), bad, redirect.ErrInvalid, "marks.agent"},
		{"a table of somebody else", "nft add table inet weft; nft add chain inet weft theirs", t.Context(), everything(), ErrNotOurs, "nft delete table inet weft"},
		{"a route of somebody else", "ip route add 240.0.0.0/4 dev eth0", t.Context(), everything(), ErrNotOurs, "ip route del 240.0.0.0/4"},
		{"loopback down", "ip link set lo down", t.Context(), everything(), nil, "ip link set lo up"},
		{"cancelled", "true", cancelled, everything(), context.Canceled, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := testnet.Hosts(t, 1)[0]
			h.Run(t, "sh", "-ec", c.before)
			before := snapshot(t, h)
			err := h.Do(func() error { return New().Apply(c.ctx, c.rules) })
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Apply said %v, want %v with %q", err, c.is, c.says)
			}
			if after := snapshot(t, h); after != before {
				t.Errorf("the host became\n%s, was\n%s", after, before)
			}
			if err := h.Do(func() error { return New().Remove(t.Context(), "") }); err != nil {
				t.Errorf("Remove said %v, want nothing", err)
			}
			if after := snapshot(t, h); after != before {
				t.Errorf("after Remove the host is\n%s, was\n%s", after, before)
			}
		})
	}
}

func TestCheckTellsWhatApplyRefuses(t *testing.T) {
	for before, want := range map[string]string{
		"nft add table inet weft; nft add chain inet weft theirs": "table inet weft is not ours",
		"ip route add 240.0.0.0/4 dev eth0":                       "route 240.0.0.0/4 is not ours",
		"ip link set lo down":                                     "the loopback device is down",
	} {
		h := testnet.Hosts(t, 1)[0]
		h.Run(t, "sh", "-ec", before)
		var found bool
		for _, d := range check(t, h, everything()) {
			found = found || strings.Contains(d.String(), want)
		}
		if !found {
			t.Errorf("%s: Check did not tell that %s", before, want)
		}
	}
}

// Without IPv6 there is nobody to call an IPv6 service.
func TestHostWithoutIPv6(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	h.Run(t, "sh", "-ec", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
	install(t, h, everything())
	if d := check(t, h, everything()); len(d) > 0 {
		t.Errorf("after Apply: %v", d)
	}
	uninstall(t, h)
}

// unprivileged names what the child of TestNotPermitted does.
const unprivileged = "WEFT_TEST_UNPRIVILEGED"

func TestNotPermitted(t *testing.T) {
	actions := map[string]func(e *Engine) error{
		"apply":  func(e *Engine) error { return e.Apply(t.Context(), everything()) },
		"check":  func(e *Engine) error { _, err := e.Check(t.Context(), everything()); return err },
		"remove": func(e *Engine) error { return e.Remove(t.Context(), "") },
	}
	if action, ok := os.LookupEnv(unprivileged); ok {
		if err := actions[action](New()); !errors.Is(err, redirect.ErrNotPermitted) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
			t.Errorf("%s said %v, want %v and the capability", action, err, redirect.ErrNotPermitted)
		}
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for action := range actions {
		t.Run(action, func(t *testing.T) {
			h := testnet.Hosts(t, 1)[0]
			f, err := os.Open(exe) // nobody may not read the folder it lies in
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			cmd := exec.CommandContext(t.Context(), "/proc/self/fd/3", "-test.run=^TestNotPermitted$", "-test.v")
			cmd.ExtraFiles, cmd.Dir = []*os.File{f}, "/"
			cmd.Env = append(os.Environ(), unprivileged+"="+action)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			var out strings.Builder
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := h.Start(cmd); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "--- PASS: TestNotPermitted") {
				t.Errorf("%v\n%s", err, out.String())
			}
		})
	}
}

// A kernel that lacks something is told by the rule that needs it.
func TestDiagnoseNamesTheFeature(t *testing.T) {
	want := build(everything().Normal())
	lacking := func(text string) func(ruleset, string, rule) error {
		return func(_ ruleset, _ string, r rule) error {
			if strings.Contains(r.text(), text) {
				return unix.ENOENT
			}
			return nil
		}
	}
	for text, option := range map[string]string{
		"tproxy": "CONFIG_NFT_TPROXY", "fib": "CONFIG_NFT_FIB_INET", "redirect to": "CONFIG_NFT_REDIR",
		"ct zone": "CONFIG_NF_CONNTRACK_ZONES", "reject": "CONFIG_NFT_REJECT_INET",
	} {
		err := diagnose(want, unix.ENOENT, lacking(text))
		if !errors.Is(err, redirect.ErrNotSupported) || !strings.Contains(err.Error(), option) {
			t.Errorf("without %s: %v, want %v and %s", text, err, redirect.ErrNotSupported, option)
		}
	}
	if err := diagnose(want, unix.ENOBUFS, lacking("tproxy")); !errors.Is(err, unix.ENOBUFS) || errors.Is(err, redirect.ErrNotSupported) {
		t.Errorf("an error of another kind became %v", err)
	}
	if err := diagnose(want, nil, lacking("tproxy")); err != nil {
		t.Errorf("no error became %v", err)
	}
	for errno, is := range map[error]error{
		unix.EPERM: redirect.ErrNotPermitted, unix.EPROTONOSUPPORT: redirect.ErrNotSupported, unix.EAFNOSUPPORT: redirect.ErrNotSupported,
	} {
		if err := explain(errno); !errors.Is(err, is) || !errors.Is(err, errno) {
			t.Errorf("%v became %v, want %v", errno, err, is)
		}
	}
}

// The probe is real: this kernel takes each rule, and sees none of them.
func TestProbe(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	want := build(withExclusions().Normal())
	for _, c := range want.chains {
		for _, r := range c.rules {
			if err := h.Do(func() error { return probe(want, c.name, r) }); err != nil {
				t.Errorf("rule %q: %v", r.name, err)
			}
		}
	}
	bad := rule{name: "bad", parts: []part{{exprs: []expr.Any{&expr.Meta{Key: 200, Register: reg}}}}}
	if err := h.Do(func() error { return probe(want, want.chains[0].name, bad) }); !refused(err) {
		t.Errorf("a rule that no kernel takes: %v", err)
	}
	if out := h.Run(t, "nft", "list", "ruleset"); out != "" {
		t.Errorf("probing left\n%s", out)
	}
}
