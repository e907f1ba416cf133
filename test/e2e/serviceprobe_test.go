//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/testmesh"
)

// TestServiceProbe has a Dataplane say how its service is asked, where the
// host's own configuration says nothing: the agent asks, counts as the
// thresholds say, and peers hear of it.
func TestServiceProbe(t *testing.T) {
	m := testmesh.New(t)
	api, web := m.Join(t, "api"), m.Join(t, "web")
	m.Allow(t, "web", "api")
	script := filepath.Join(api.Dir, "service.py")
	if err := os.WriteFile(script, []byte(answering), 0o600); err != nil {
		t.Fatal(err)
	}
	program := testmesh.Start(t, api.Host, "python3", script)
	web.WaitAnswer(t, "http://api.mesh/")
	apply := func(probe string) {
		t.Helper()
		m.Apply(t, fmt.Sprintf(`type: Dataplane
mesh: default
name: api-1
networking:
  address: %s
  inbound:
  - port: 8080
    serviceAddress: 127.0.0.1
    servicePort: 8080
    tags: {kuma.io/service: api, kuma.io/protocol: http}
%s
  transparentProxying: {redirectPortInbound: 15006, redirectPortOutbound: 15001}
`, api.IP4, probe))
	}
	says := func(t *testing.T, words string) {
		t.Helper()
		testmesh.Eventually(t, fmt.Sprintf("status says %q", words), func() error {
			if out, _ := api.Agent(t, "status"); !strings.Contains(out, words) {
				return fmt.Errorf("status says\n%s", out)
			}
			return nil
		})
	}
	stored := func(t *testing.T, words string) {
		t.Helper()
		testmesh.Eventually(t, fmt.Sprintf("the Dataplane says %q", words), func() error {
			if out := m.Ctl(t, "get", "dataplane", "api-1", "-o", "yaml"); !strings.Contains(out, words) {
				return fmt.Errorf("it says\n%s", out)
			}
			return nil
		})
	}
	whole := t
	steps := []struct {
		name string
		do   func(t *testing.T)
	}{
		{"the Dataplane has a probe: asked as it says", func(t *testing.T) {
			apply("    serviceProbe: {interval: 200ms, timeout: 1s, unhealthyThreshold: 3, healthyThreshold: 2, tcp: {}}")
			says(t, "answers its probe (tcp at 127.0.0.1:8080 every 200ms within 1s, 3 bad or 2 good")
			stored(t, "state: Ready")
		}},
		{"the service ends: peers do not call it", func(t *testing.T) {
			program.Stop(t)
			says(t, "does not answer its probe")
			stored(t, "state: NotReady")
			stored(t, "unhealthyThreshold: 3") // it outlives what the host registers
			testmesh.Eventually(t, "there is no endpoint", func() error {
				if code, body, err := web.Curl(t, "http://api.mesh/"); code != "503" || !strings.Contains(body, "no healthy upstream") {
					return fmt.Errorf("code %s, %w, %s", code, err, body)
				}
				return nil
			})
		}},
		{"the Dataplane is written again: still not called", func(t *testing.T) {
			apply("    serviceProbe: {interval: 200ms, timeout: 1s, unhealthyThreshold: 3, healthyThreshold: 2, tcp: {}}\n    name: web")
			stored(t, "state: NotReady")
		}},
		{"the agent is started anew: it knows the probe before it registers", func(t *testing.T) {
			api.AgentProgram().Kill(t)
			api.StartAgent(whole)
			says(t, "does not answer its probe")
			stored(t, "state: NotReady")
		}},
		{"the probe is taken away: called, whatever comes", func(t *testing.T) {
			apply("")
			stored(t, "state: Ready")
		}},
		{"a probe again, and the service comes: called", func(t *testing.T) {
			apply("    serviceProbe: {tcp: {}}")
			says(t, "does not answer its probe")
			stored(t, "state: NotReady")
			testmesh.Start(whole, api.Host, "python3", script)
			web.WaitAnswer(t, "http://api.mesh/")
			api.WaitWell(t)
		}},
	}
	for i, s := range steps {
		if !t.Run(fmt.Sprintf("%02d %s", i+1, s.name), s.do) {
			return
		}
	}
}
