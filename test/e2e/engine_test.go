//go:build linux

package e2e

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/testmesh"
)

// TestHostsByIptables has two hosts whose traffic iptables redirects.
func TestHostsByIptables(t *testing.T) {
	m := testmesh.New(t)
	web := m.Join(t, "web", "--redirect-engine", "iptables")
	api := m.Join(t, "api", "--redirect-engine", "iptables")
	service(t, api, "0.0.0.0")
	if code, body, _ := web.Curl(t, "http://api.mesh/"); code != "503" {
		t.Errorf("without a permission: code %s, %s", code, body)
	}
	m.Allow(t, "web", "api")
	for _, family := range []string{"--ipv4", "--ipv6"} {
		a := parse(t, web.WaitAnswer(t, family, "http://api.mesh/"))
		if got := a.Headers["x-forwarded-client-cert"]; !strings.Contains(got, "URI=spiffe://default/web") {
			t.Errorf("%s: the service saw x-forwarded-client-cert %q", family, got)
		}
	}
	if rules := web.Run(t, "iptables-save"); !strings.Contains(rules, "TPROXY") {
		t.Errorf("iptables redirects nothing:\n%s", rules)
	}
	if out, err := web.Agent(t, "leave"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if rules := web.Run(t, "iptables-save"); strings.Contains(rules, "-A") {
		t.Errorf("rules are left:\n%s", rules)
	}
}
