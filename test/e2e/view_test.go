//go:build linux

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/testmesh"
)

// TestView asks the control plane what a real Envoy on another host says of
// itself, by the paths of kumactl and by weftctl.
func TestView(t *testing.T) {
	m := testmesh.New(t)
	m.Join(t, "web")
	api := m.Join(t, "api")
	m.Allow(t, "web", "api")
	m.Apply(t, `type: ProxyTemplate
mesh: default
name: with-a-secret
selectors: [{match: {kuma.io/service: web}}]
conf:
  imports: [default-proxy]
  resources:
  - name: outside
    version: v1
    resource: |
      '@type': type.googleapis.com/envoy.config.cluster.v3.Cluster
      name: outside
      type: STATIC
      connectTimeout: 1s
      metadata: {filterMetadata: {x: {header: "Bearer abcdefghijklmnop", password: "hunter2hunter2"}}}
`)
	ask := func(path string) (code, body string) {
		out := m.CP.Run(t, "curl", "--silent", "--show-error", "--max-time", "30", "--unix-socket", filepath.Join(m.Dir, "api.sock"),
			"--write-out", "\n%{http_code}", "http://x/meshes/default/dataplanes/"+path)
		i := strings.LastIndexByte(out, '\n')
		return out[i+1:], out[:i]
	}
	var dump struct {
		Configs []map[string]any `json:"configs"`
	}
	testmesh.Eventually(t, "the dump has what was applied", func() error {
		code, body := ask("web-1/xds?include_eds=true")
		if code != "200" || !strings.Contains(body, `"outside"`) {
			return fmt.Errorf("%s, %d bytes: %.300s", code, len(body), body)
		}
		for _, secret := range []string{"PRIVATE KEY", "LS0tLS1CRUdJTi", "abcdefghijklmnop", "hunter2"} {
			if strings.Contains(body, secret) {
				t.Errorf("the dump has %q", secret)
			}
		}
		return json.Unmarshal([]byte(body), &dump)
	})
	types := map[string]bool{}
	for _, c := range dump.Configs {
		name, _ := c["@type"].(string)
		types[name[strings.LastIndexByte(name, '.')+1:]] = true
	}
	for _, want := range []string{"BootstrapConfigDump", "ClustersConfigDump", "EndpointsConfigDump", "ListenersConfigDump", "SecretsConfigDump"} {
		if !types[want] {
			t.Errorf("the dump lacks its %s: %v", want, types)
		}
	}
	for path, word := range map[string]string{
		"api-1/stats":                "server.live: 1",
		"api-1/stats?usedonly=false": "server.hot_restart_epoch",
		"api-1/stats?format=json":    `"name":"server.live"`,
		"web-1/clusters":             "api::",
		"web-1/clusters?format=json": `"cluster_statuses"`,
	} {
		if code, body := ask(path); code != "200" || !strings.Contains(body, word) {
			t.Errorf("%s: %s, lacks %q: %.300s", path, code, word, body)
		}
	}
	for view, word := range map[string]string{"config-dump": `"configs"`, "stats": "cluster.api", "clusters": "api::", "policies": `"SidecarDataplane"`, "config": `"xds"`} {
		if out := m.Ctl(t, "inspect", "dataplane", "web-1", "--type", view); !strings.Contains(out, word) {
			t.Errorf("weftctl inspect dataplane --type %s lacks %q: %.300s", view, word, out)
		}
	}
	// Streams and certificates are told of, by Kuma's words, and outlive the
	// control plane.
	for _, when := range []string{"now", "after a restart"} {
		testmesh.Eventually(t, "how api-1 fared, "+when, func() error {
			out := m.Ctl(t, "inspect", "dataplanes", "--tag", "kuma.io/service=api")
			if !regexp.MustCompile(`(?m)^default +api-1 .* Online +\d+s +\d+[sm] +[1-9]\d* +0 +\d+[sm] +20\d\d-\S+ \S+ +[1-9] +ca-1 +ca-1 +`).MatchString(out) {
				return errors.New(out)
			}
			_, body := ask("api-1/_overview")
			if ended := strings.Contains(body, `"disconnectTime"`); ended != (when == "after a restart") || !strings.Contains(body, `"certificateExpirationTime"`) {
				return errors.New(body)
			}
			return nil
		})
		out := m.CP.Run(t, "curl", "--silent", "--show-error", "--unix-socket", filepath.Join(m.Dir, "api.sock"), "http://x/mesh-insights/default", "http://x/meshes/default/service-insights/api")
		if !regexp.MustCompile(`"issuedBackends": \{\s*"ca-1": \{\s*"total": 2`).MatchString(out) || !regexp.MustCompile(`"issuedBackends": \{\s*"ca-1": 1`).MatchString(out) {
			t.Errorf("insights of mesh and service: %s", out)
		}
		if when == "now" {
			// It is killed, which costs what was not written yet.
			testmesh.Eventually(t, "what is remembered is in the file", func() error {
				text, err := os.ReadFile(filepath.Join(m.Dir, "cp", "insights.jsonl"))
				if !regexp.MustCompile(`"default\.api-1".*"mTLS"`).Match(text) {
					return fmt.Errorf("it holds %s, %w", text, err)
				}
				return nil
			})
			m.RestartControlPlane(t)
		}
	}
	api.AgentProgram().Kill(t)
	testmesh.Eventually(t, "an agent that is gone is told", func() error {
		out, err := m.TryCtl(t, "inspect", "dataplane", "api-1", "--type", "stats")
		if err == nil || !strings.Contains(out, "is not connected") {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}
