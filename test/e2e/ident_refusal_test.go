//go:build linux

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/testmesh"
)

// poison is a policy that the control plane takes and Envoy refuses.
const poison = `type: ProxyTemplate
mesh: default
name: poison
selectors: [{match: {kuma.io/service: web}}]
conf:
  imports: [default-proxy]
  resources:
  - name: poison
    version: v1
    resource: |
      '@type': type.googleapis.com/envoy.config.cluster.v3.Cluster
      name: poison
      type: STATIC
      connectTimeout: 1s
      loadAssignment:
        clusterName: poison
        endpoints: [{lbEndpoints: [{endpoint: {address: {socketAddress: {address: nowhere, portValue: 80}}}}]}]
`

// TestIdentRefusal has Envoy refuse what a policy asks for, while the control
// plane is connected, and its host restarted meanwhile.
func TestIdentRefusal(t *testing.T) {
	l := newLife(t)
	// tells waits until insight, inspect and the host's own status say who
	// refuses what, in whose words, and which policy asked for it.
	tells := func(t *testing.T) {
		t.Helper()
		for _, stage := range []string{"stream", "plan"} {
			testmesh.Eventually(t, "weftctl inspect --stage "+stage+" tells", func() error {
				out := l.Ctl(t, "inspect", "dataplane", "web-1", "--stage", stage)
				for _, w := range []string{"refused:", "poison", "malformed IP address", `ProxyTemplate "poison"`} {
					if !strings.Contains(out, w) {
						return fmt.Errorf("%q is not in\n%s", w, out)
					}
				}
				return nil
			})
		}
		out := l.CP.Run(t, "curl", "--silent", "--unix-socket", l.Dir+"/api.sock", "http://x/meshes/default/dataplanes/web-1/_overview")
		for _, w := range []string{`"refused"`, "malformed IP address: nowhere", `ProxyTemplate \"poison\"`} {
			if !strings.Contains(out, w) {
				t.Errorf("the overview lacks %q:\n%s", w, out)
			}
		}
		if out, err := l.web.Agent(t, "status"); err == nil || !strings.Contains(out, "refuses clusters poison (") || !strings.Contains(out, "goes on with what it had") {
			t.Errorf("status: %v\n%s", err, out)
		}
	}
	l.step(t, "a policy that Envoy refuses", 0, func(t *testing.T) {
		l.Apply(t, poison)
		tells(t)
	})
	l.step(t, "another change arrives all the same, and the refusal stands", 0, func(t *testing.T) {
		l.Apply(t, `type: Timeout
mesh: default
name: t1
sources: [{match: {kuma.io/service: web}}]
destinations: [{match: {kuma.io/service: api}}]
conf: {connectTimeout: 7s}
`)
		testmesh.Eventually(t, "Envoy has the other change", func() error {
			out := l.web.Run(t, "curl", "--silent", "--unix-socket", l.web.Dir+"/run/envoy/admin.sock", "http://x/config_dump?resource=dynamic_active_clusters")
			if !strings.Contains(out, `"connect_timeout": "7s"`) {
				return fmt.Errorf("not in %d bytes of configuration", len(out))
			}
			return nil
		})
		tells(t)
	})
	l.step(t, "mended", 0, func(t *testing.T) {
		l.Ctl(t, "delete", "proxy-template", "poison")
		l.web.WaitWell(t)
		testmesh.Eventually(t, "nothing is refused", func() error {
			if out := l.Ctl(t, "inspect", "dataplane", "web-1", "--stage", "stream"); strings.Contains(out, "refused:") {
				return fmt.Errorf("it says\n%s", out)
			}
			return nil
		})
	})
}
