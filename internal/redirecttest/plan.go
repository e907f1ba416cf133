//go:build linux

package redirecttest

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// What a plan says, done by hand with the tools whose language it speaks,
// leaves nothing for Apply to do. Planning itself does nothing.
func (u suite) plans(t *testing.T) {
	planner, ok := u.New().(redirect.Planner)
	if !ok {
		t.Fatal("the engine cannot tell what Apply would do")
	}
	plan := func(t *testing.T, h *testnet.Host, r redirect.Rules) (p redirect.Plan) {
		t.Helper()
		if err := h.Do(func() (err error) {
			p, err = planner.Plan(t.Context(), r)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return p
	}
	other := everything()
	other.Inbound.Ports = other.Inbound.Ports[1:]
	other.VIPs = other.VIPs[:1]
	for _, c := range []struct {
		name   string
		before func(t *testing.T, h *testnet.Host)
	}{
		{"a fresh host", func(*testing.T, *testnet.Host) {}},
		{"other rules", func(t *testing.T, h *testnet.Host) { u.install(t, h, other) }},
		{"more rules", func(t *testing.T, h *testnet.Host) { u.install(t, h, withExclusions()) }},
		{"routes that are lost", func(t *testing.T, h *testnet.Host) {
			u.install(t, h, everything())
			h.Run(t, "ip", "route", "flush", "proto", "87")
		}},
		{"rules that are lost", func(t *testing.T, h *testnet.Host) {
			u.install(t, h, everything())
			h.Run(t, "sh", "-ec", u.Gone)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := testnet.Hosts(t, 1)[0]
			c.before(t, h)
			was := u.snapshot(t, h)
			p := plan(t, h, everything())
			if len(p.Steps) == 0 || len(p.Differences) == 0 {
				t.Fatalf("planned %+v", p)
			}
			if now := u.snapshot(t, h); now != was {
				t.Errorf("planning changed the host from\n%s\nto\n%s", was, now)
			}
			for _, s := range p.Steps {
				switch program := strings.Fields(s.By); program[0] {
				case "nf_tables":
					h.Pipe(t, s.Text, "nft", "-f", "-")
				case "rtnetlink":
					h.Run(t, "sh", "-ec", s.Text)
				default:
					if !u.PlansInWords {
						h.Pipe(t, s.Text, program[0], program[1:]...)
					}
				}
			}
			if u.PlansInWords {
				u.install(t, h, everything())
			}
			if d := u.check(t, h, everything()); len(d) > 0 {
				t.Errorf("done by hand, it differs: %v; the plan was\n%+v", d, p.Steps)
			}
			if p := plan(t, h, everything()); len(p.Steps)+len(p.Differences) > 0 {
				t.Errorf("with the rules in force, planned %+v", p)
			}
		})
	}
}
