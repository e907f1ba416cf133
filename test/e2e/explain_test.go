//go:build linux

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/testmesh"
)

const cartRoute = `type: TrafficRoute
mesh: default
name: cart
sources: [{match: {kuma.io/service: web}}]
destinations: [{match: {kuma.io/service: api}}]
conf:
  http:
  - {match: {path: {prefix: /cart}}, destination: {kuma.io/service: nowhere}}
  destination: {kuma.io/service: '*'}
`

// TestExplain: what `weftctl explain` says of a call is what becomes of it, and
// what `weftctl diff` says before a change is what the change does.
func TestExplain(t *testing.T) {
	m := testmesh.New(t)
	api := m.Join(t, "api")
	testmesh.Serve(t, api.Host, "127.0.0.1:8080", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "api") }))
	web := m.Join(t, "web")
	agrees := func(verdict, path, code string, words ...string) {
		t.Helper()
		testmesh.Eventually(t, fmt.Sprintf("web calls api %s: %s, and %s", path, verdict, code), func() error {
			said := m.Ctl(t, "explain", "web", "api", "--path", path)
			for _, w := range append(words, "web -> api "+path+": "+verdict) {
				if !strings.Contains(said, w) {
					return fmt.Errorf("explain lacks %q:\n%s", w, said)
				}
			}
			if got, body, err := web.Curl(t, "http://api.mesh"+path); err != nil || got != code {
				return fmt.Errorf("the call is answered %s %s, %w, and explain says\n%s", got, body, err, said)
			}
			return nil
		})
	}
	agrees("denied", "/x", "503", "no TrafficPermission") // the connection is ended
	m.Allow(t, "web", "api")
	agrees("allowed", "/x", "200", "TrafficPermission", "connected", "api-1")

	file := filepath.Join(m.Dir, "route.yaml")
	if err := os.WriteFile(file, []byte(cartRoute), 0o600); err != nil {
		t.Fatal(err)
	}
	said := m.Ctl(t, "diff", "-f", file)
	// The first TrafficRoute takes from api, which none selects, all that it calls.
	for _, w := range []string{
		`TrafficRoute "cart" in mesh "default": created`, "plans of web-1 in mesh", "prefix: /cart", "plans of api-1 in mesh", "none selects them",
		"2 of 2 proxies would be told something else",
	} {
		if !strings.Contains(said, w) {
			t.Errorf("diff lacks %q:\n%s", w, said)
		}
	}
	agrees("allowed", "/cart", "200") // nothing was changed
	m.Apply(t, cartRoute)
	agrees("fails", "/cart", "503", "nowhere")
	agrees("allowed", "/x", "200", `TrafficRoute "cart"`)
	if said := m.Ctl(t, "diff", "-f", file); !strings.Contains(said, "unchanged") || !strings.Contains(said, "no proxy would be told something else") {
		t.Errorf("diff of what is there says:\n%s", said)
	}

	if out, err := m.TryCtl(t, "explain", "wbe", "api"); err == nil || !strings.Contains(out+fmt.Sprint(err), `did you mean "web"?`) {
		t.Errorf("a bad name is answered %v:\n%s", err, out)
	}
	for what, line := range map[string]string{"meshes": `(?m)^default +2/2 +1 +1 `, "services": `(?m)^web +Online +1/1$`, "zones": `(?m)^default +Online `} {
		if said := m.Ctl(t, "inspect", what); !regexp.MustCompile(line).MatchString(said) {
			t.Errorf("inspect %s lacks %s:\n%s", what, line, said)
		}
	}
	out := m.CP.Run(t, "curl", "--silent", "--show-error", "--max-time", "5", "--unix-socket", filepath.Join(m.Dir, "api.sock"), "http://localhost/mesh-insights")
	for _, w := range []string{`"online": 2`, `"envoy": {`, `"1.40`} {
		if !strings.Contains(out, w) {
			t.Errorf("the insight of the mesh lacks %s:\n%s", w, out)
		}
	}
}
