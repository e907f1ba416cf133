//go:build linux

package nftables

import (
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
)

func planned(t *testing.T, h *testnet.Host, r redirect.Rules) (p redirect.Plan) {
	t.Helper()
	if err := h.Do(func() (err error) {
		p, err = New().Plan(t.Context(), r)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return p
}

// What a plan says, done by nft, leaves nothing for Apply to do: each
// transaction is one that nft takes as well.
func TestPlanIsWhatApplySends(t *testing.T) {
	leased, tried := withExclusions(), everything()
	leased.FailOpen, tried.ConfirmWithin = time.Minute, time.Minute
	long := everything()
	for port := uint16(20000); port < 24000; port += 2 {
		long.Outbound.ExcludePorts = append(long.Outbound.ExcludePorts, redirect.PortRange{First: port, Last: port})
	}
	all := map[string]redirect.Rules{"everything": everything(), "exclusions": withExclusions(), "a lease": leased, "a trial": tried, "a long list": long, "nothing": {}, "words": everyWord(), "rewrite": rewriting()}
	for from, before := range all {
		for to, after := range all {
			t.Run(from+" to "+to, func(t *testing.T) {
				h := testnet.Hosts(t, 1)[0]
				install(t, h, before)
				was := generation(t, h)
				p := planned(t, h, after)
				if generation(t, h) != was {
					t.Error("planning wrote something")
				}
				for _, s := range p.Steps {
					if s.By == "nf_tables" {
						h.Pipe(t, s.Text, "nft", "-f", "-")
					} else {
						h.Run(t, "sh", "-ec", s.Text)
					}
				}
				if d := check(t, h, after); len(d) > 0 {
					t.Errorf("done by nft, it differs: %v; the plan was\n%+v", d, p.Steps)
				}
				if p := planned(t, h, after); len(p.Differences) > 0 || len(p.Steps) > 0 && after.ConfirmWithin == 0 {
					t.Errorf("with the rules in force, planned %+v", p)
				}
			})
		}
	}
}

// A dormant table is made anew.
func TestPlanOfADormantTable(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	install(t, h, everything())
	h.Run(t, "nft", "add table inet weft { flags dormant; }")
	p := planned(t, h, everything())
	if len(p.Steps) != 1 || !strings.HasPrefix(p.Steps[0].Text, "delete table inet weft\nadd table inet weft\n") {
		t.Errorf("planned %+v", p)
	}
}
