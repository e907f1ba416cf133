//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/pkg/redirect/probe"
)

// probed runs weft-agent redirect check --probe.
func probed(t *testing.T, h *testmesh.Host) (r probe.Report, text string) {
	t.Helper()
	text, _ = h.Agent(t, "redirect", "check", "--probe", "-o", "json")
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return r, text
}

func faults(r probe.Report) string {
	var all []string
	for _, f := range r.Faults {
		all = append(all, fmt.Sprintf("%s: %q", f.What, f.Probes))
	}
	for _, x := range r.Results {
		if !x.OK {
			all = append(all, fmt.Sprintf("%s: %s, %+v", x.Name, x.Got, x.Hops))
		}
	}
	return strings.Join(all, "\n")
}

// TestProbe has the real Envoy and agent probed, well and broken in ways that
// the agent does not mend.
func TestProbe(t *testing.T) {
	m := testmesh.New(t)
	for _, engine := range []string{"nftables", "iptables"} {
		t.Run(engine, func(t *testing.T) {
			web := m.Join(t, "web-"+engine, "--redirect-engine", engine)
			service(t, web, "0.0.0.0")
			r, text := probed(t, web)
			if !r.Well || len(r.Results) < 50 {
				t.Errorf("a host that is well:\n%s\n%s", faults(r), text)
			}
			if _, status := web.Agent(t, "status"); status != nil {
				t.Errorf("after a probe: %v", status)
			}
			for _, x := range r.Results {
				if strings.HasSuffix(x.Name, "F1: a call to another host") && !strings.HasPrefix(x.Got, "the proxy: envoy (pid ") {
					t.Errorf("%s: %s", x.Name, x.Got)
				}
			}
			breaks(t, web, "a firewall", "nft 'table inet theirs { chain c { type filter hook output priority 0; tcp dport 15001 drop comment \"closed\"; }; }'", "nft delete table inet theirs",
				`rule "closed" of chain c in table inet theirs: drop`)
			breaks(t, web, "another nat chain", "nft 'table ip theirs { chain c { type nat hook output priority -110; ip daddr != 127.0.0.0/8 tcp dport != 53 redirect to :9; }; }'", "nft delete table ip theirs",
				"of chain c in table ip theirs")
			breaks(t, web, "a rule about services", "ip rule add to 240.0.0.0/4 prohibit priority 5", "ip rule del priority 5", "a rule or route forbids it")
			envoy := web.Status(t).Envoy.PID
			if err := unix.Kill(envoy, unix.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			r, _ = probed(t, web)
			if err := unix.Kill(envoy, unix.SIGCONT); err != nil {
				t.Fatal(err)
			}
			if len(r.Faults) == 0 || !strings.Contains(r.Faults[0].What, "nobody takes connections from the listener") {
				t.Errorf("Envoy hangs:\n%s", faults(r))
			}
			web.KillAll(t)
			testmesh.Eventually(t, "Envoy and the agent's DNS server are named", func() error {
				r, _ := probed(t, web)
				text := faults(r)
				for _, want := range []string{"nobody listens at TCP port 15001 in IPv4", "nobody listens at TCP port 15006 in IPv6", "nobody listens at UDP port 15053 in IPv4"} {
					if !strings.Contains(text, want) {
						return fmt.Errorf("want %q in\n%s", want, text)
					}
				}
				return nil
			})
		})
	}
}

func breaks(t *testing.T, h *testmesh.Host, name, do, undo, want string) {
	t.Helper()
	h.Run(t, "sh", "-ec", do)
	r, _ := probed(t, h)
	h.Run(t, "sh", "-ec", undo)
	if r.Well || len(r.Faults) == 0 || !strings.Contains(r.Faults[0].What, want) {
		t.Errorf("%s: want %q named first:\n%s", name, want, faults(r))
	}
}
