//go:build linux

package nftables

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// A kernel that lacks something is told by the rule that needs it.
func TestDiagnoseNamesTheFeature(t *testing.T) {
	want := build(everyWord().Normal(), cgroups{})
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
		"ct zone": "CONFIG_NF_CONNTRACK_ZONES", "reject": "CONFIG_NFT_REJECT_INET", "cgroupv2": "CONFIG_NFT_SOCKET", "dnat ip": "CONFIG_NFT_NAT",
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
	want := build(everyWord().Normal(), cgroups{})
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
