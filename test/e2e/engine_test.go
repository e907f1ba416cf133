//go:build linux

package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/testmesh"
)

// TestHostsByIptables has two hosts whose traffic iptables redirects: one is put
// on trial, the other one opens when its agent and Envoy are gone.
func TestHostsByIptables(t *testing.T) {
	m := testmesh.New(t)
	web := m.Join(t, "web", "--redirect-engine", "iptables")
	api := m.Join(t, "api", "--redirect-engine", "iptables", "--fail-open", "2s")
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
	stranger := m.Net.Host("stranger")
	at := netip.AddrPortFrom(stranger.IP4, 80).String()
	direct := func() error { // Envoy is not there, or the call does not go to it
		c, err := api.TryDial("tcp", at)
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	stranger.Listen(t, at)
	if out, err := web.Agent(t, "redirect", "apply", "--confirm-within", "2s"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	testmesh.Eventually(t, "nobody confirms the trial, and it is over", func() error {
		if out, _ := web.Agent(t, "redirect", "check"); !strings.Contains(out, "as nobody confirmed it in time") {
			return fmt.Errorf("check says\n%s", out)
		}
		return nil
	})
	if out, err := web.Agent(t, "redirect", "apply"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	web.WaitAnswer(t, "http://api.mesh/")
	api.KillAll(t)
	testmesh.Eventually(t, "the fail-open host calls directly", direct)
	// The kernel ends the lease of each family and use, and not all in one moment.
	testmesh.Eventually(t, "status says that the host is open", func() error {
		if out, err := api.Agent(t, "status"); err == nil || !strings.Contains(out, "outbound and DNS go out around Envoy") {
			return fmt.Errorf("it says %w\n%s", err, out)
		}
		return nil
	})
	if out, err := web.Agent(t, "leave"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if rules := web.Run(t, "iptables-save"); strings.Contains(rules, "-A") {
		t.Errorf("rules are left:\n%s", rules)
	}
}
