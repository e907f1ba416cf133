//go:build linux

package redirecttest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// Every breakage is told by what broke, and mended by Apply.
func (u suite) breakagesAreNamed(t *testing.T) {
	cases := append([]Breakage{
		{"the IPv4 route", "ip route del 240.0.0.0/4", []string{"route 240.0.0.0/4 dev lo is missing"}},
		{"the IPv6 route", "ip -6 route del fd57:6566:7400::/64", []string{"route fd57:6566:7400::/64 dev lo is missing"}},
		{"the IPv4 route's source", "ip route replace 240.0.0.0/4 dev lo proto 87", []string{"the source of route 240.0.0.0/4 dev lo is changed"}},
		{"the IPv6 route's source", "ip -6 route replace fd57:6566:7400::/64 dev lo proto 87", []string{"the source of route fd57:6566:7400::/64 dev lo is changed"}},
		{"a route of an earlier wish", "ip route add 198.18.0.0/15 dev lo proto 87", []string{"route 198.18.0.0/15 dev lo is left over"}},
	}, u.Breakages...)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			h := testnet.Hosts(t, 1)[0]
			until(t, testnet.Patience, func() string { // an address that came later would be a difference too
				if !strings.Contains(h.Run(t, "ip", "-6", "addr", "show", "dev", "eth0", "scope", "link"), "fe80::") {
					return "eth0 has no link-local address"
				}
				return ""
			})
			u.install(t, h, Broken())
			h.Run(t, "sh", "-ec", u.script(c.Script))
			found := u.check(t, h, Broken())
			if len(found) != len(c.Want) {
				t.Errorf("told %d differences, want %d: %v", len(found), len(c.Want), found)
			}
			for i, d := range found {
				if i < len(c.Want) && !strings.Contains(d.What+" is "+d.Is, c.Want[i]) {
					t.Errorf("told %q, want %q in it", d, c.Want[i])
				}
				if d.Remedy == "" {
					t.Errorf("%s has no remedy", d)
				}
			}
			u.install(t, h, Broken())
			if left := u.check(t, h, Broken()); len(left) > 0 {
				t.Errorf("after Apply: %v", left)
			}
		})
	}
}

func (u suite) badInput(t *testing.T) {
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
		told   string // by Check
	}{
		{"invalid rules", "true", t.Context(), bad, redirect.ErrInvalid, "marks.agent", ""},
		{"a route of somebody else", "ip route add 240.0.0.0/4 dev eth0", t.Context(), everything(), nil, "not ours: choose another range for vips, or delete that route: ip route del 240.0.0.0/4", "route 240.0.0.0/4 is not ours"},
		{"loopback down", "ip link set lo down", t.Context(), everything(), nil, "ip link set lo up", "the loopback device is down"},
		{"cancelled", "true", cancelled, everything(), context.Canceled, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := testnet.Hosts(t, 1)[0]
			h.Run(t, "sh", "-ec", c.before)
			before := u.snapshot(t, h)
			err := h.Do(func() error { return u.New().Apply(c.ctx, c.rules) })
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Apply said %v, want %v with %q", err, c.is, c.says)
			}
			if after := u.snapshot(t, h); after != before {
				t.Errorf("the host became\n%s, was\n%s", after, before)
			}
			if c.told != "" {
				told := ""
				for _, d := range u.check(t, h, c.rules) {
					told += d.String() + "\n"
				}
				if !strings.Contains(told, c.told) {
					t.Errorf("Check told\n%swant %q in it", told, c.told)
				}
			}
			u.uninstall(t, h)
			if after := u.snapshot(t, h); after != before {
				t.Errorf("after Remove the host is\n%s, was\n%s", after, before)
			}
		})
	}
}

// Without IPv6 there is nobody to call an IPv6 service.
func (u suite) hostWithoutIPv6(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	h.Run(t, "sh", "-ec", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
	u.install(t, h, everything())
	if d := u.check(t, h, everything()); len(d) > 0 {
		t.Errorf("after Apply: %v", d)
	}
	u.uninstall(t, h)
}

// A description is the same for the same wish and touches nothing.
func (u suite) description(t *testing.T) {
	first, err := u.New().Describe(withExclusions())
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"15006", "15001", "15053", "240.0.0.0/4", "ip -6 route add fd57:6566:7400::/64 dev lo proto 87 src ::1", "outbound: to the proxy"} {
		if !strings.Contains(first, part) {
			t.Errorf("the description has no %q:\n%s", part, first)
		}
	}
	again, err := u.New().Describe(withExclusions().Normal())
	if err != nil || again != first {
		t.Errorf("the same wish is described as\n%s\nand, %v,\n%s", first, err, again)
	}
	bad := everything()
	bad.Marks.Mask = 0
	if _, err := u.New().Describe(bad); !errors.Is(err, redirect.ErrInvalid) {
		t.Errorf("bad rules: %v, want %v", err, redirect.ErrInvalid)
	}
}
