//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/testmesh"
)

// A place is one host of service api, and counts its calls.
type place struct {
	*testmesh.Host
	version string
}

// TestNamesAndPlaces walks through names by VirtualOutbounds, the preference for
// the own zone, and ProxyTemplates, in one mesh: web calls api, whose versions
// are in two zones.
func TestNamesAndPlaces(t *testing.T) {
	m := testmesh.New(t, "--zone", "east")
	testmesh.ServeNames(t, m.CP, nil) // so that names which are none yet are refused at once
	join := func(service, name string, args ...string) *testmesh.Host {
		h := m.NewHost(t, service)
		h.JoinMesh(t, m.JoinToken(t, service), append([]string{"--name", name, "--envoy-concurrency", "1"}, args...)...)
		h.StartAgent(t)
		h.WaitWell(t)
		return h
	}
	var api []*place
	host := func(version string) {
		p := &place{Host: join("api", "api-"+version, "--tag", "version="+version), version: version}
		testmesh.Serve(t, p.Host.Host, "127.0.0.1:8080", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, p.version) }))
		api = append(api, p)
	}
	host("v1")
	m.RestartControlPlane(t, "--zone", "west")
	host("v2")
	web := join("web", "web-1")
	for _, p := range api {
		p.WaitWell(t)
	}
	m.Allow(t, "web", "api")
	// versions calls n times and tells which versions answered.
	versions := func(t *testing.T, url string, n int) string {
		t.Helper()
		seen := map[string]bool{}
		for range n {
			seen[web.WaitAnswer(t, url)] = true
		}
		return fmt.Sprint(len(seen), " ", seen["v1"], " ", seen["v2"])
	}
	const v1, v2, both = "1 true false", "1 false true", "2 true true"
	becomes := func(t *testing.T, what, url, want string) {
		t.Helper()
		testmesh.Eventually(t, what, func() error {
			if got := versions(t, url, 6); got != want {
				return fmt.Errorf("answers by (how many, v1, v2): %s", got)
			}
			return nil
		})
	}
	// under wants load to go on unharmed while do changes something.
	under := func(t *testing.T, url string, do func()) {
		t.Helper()
		name := strings.Split(strings.TrimPrefix(url, "http://"), "/")[0]
		name, _, _ = strings.Cut(name, ":")
		tr := web.Transport(t, name)
		load := testmesh.StartLoad(t, tr, url, 100)
		before := testmesh.Call(t, tr, url, 50)
		do()
		after := testmesh.Call(t, tr, url, 50)
		for _, got := range []testmesh.Answers{before, load.Stop(), after} {
			if len(got) != 1 || got["200"] == 0 {
				t.Errorf("answers %v", got)
			}
		}
	}
	plan := func(t *testing.T, dataplane string) string {
		t.Helper()
		return m.Ctl(t, "inspect", "dataplane", dataplane, "--stage", "plan")
	}
	tells := func(t *testing.T, dataplane string, words ...string) {
		t.Helper()
		testmesh.Eventually(t, "inspect tells", func() error {
			out := plan(t, dataplane)
			for _, w := range words {
				if !strings.Contains(out, w) {
					return fmt.Errorf("it lacks %q:\n%s", w, out)
				}
			}
			return nil
		})
	}
	const byVersion = `type: VirtualOutbound
mesh: default
name: versions
selectors: [{match: {kuma.io/service: '*', version: '*'}}]
conf:
  host: "{{.version}}.{{.service}}.mesh"
  port: "80"
  parameters: [{name: service, tagKey: kuma.io/service}, {name: version}]
`
	t.Run("a service is called everywhere", func(t *testing.T) { becomes(t, "both", "http://api.mesh/", both) })
	t.Run("each version has a name of its own", func(t *testing.T) {
		under(t, "http://api.mesh/", func() {
			m.Apply(t, byVersion)
			becomes(t, "v1", "http://v1.api.mesh/", v1)
			becomes(t, "v2", "http://v2.api.mesh/", v2)
		})
	})
	t.Run("another name outside of .mesh, at another port", func(t *testing.T) {
		under(t, "http://v1.api.mesh/", func() {
			m.Apply(t, `type: VirtualOutbound
mesh: default
name: internal
selectors: [{match: {kuma.io/service: api}}]
conf: {host: "{{.service}}.internal.example", port: "8081", parameters: [{name: service, tagKey: kuma.io/service}]}
`)
			becomes(t, "both", "http://api.internal.example:8081/", both)
		})
	})
	t.Run("two things of one name are told", func(t *testing.T) {
		m.Apply(t, `type: VirtualOutbound
mesh: default
name: clash
selectors: [{match: {version: '*'}}]
conf: {host: "api.clash.example", port: "80", parameters: [{name: service, tagKey: kuma.io/service}, {name: version}]}
`)
		tells(t, "web-1", `VirtualOutbound "clash" for`, "already, by VirtualOutbound")
		m.Ctl(t, "delete", "virtual-outbound", "clash")
	})
	t.Run("a name that is taken back exists no more", func(t *testing.T) {
		under(t, "http://api.mesh/", func() {
			m.Ctl(t, "delete", "virtual-outbound", "versions")
			testmesh.Eventually(t, "v1.api.mesh is gone", func() error {
				if _, _, err := web.Curl(t, "http://v1.api.mesh/"); err == nil {
					return errors.New("it answers")
				}
				return nil
			})
		})
	})

	const meshDoc = "type: Mesh\nname: default\nmtls: {enabledBackend: ca-1, backends: [{name: ca-1, type: builtin}]}\nrouting: {localityAwareLoadBalancing: %t}\n"
	state := func(t *testing.T, to string) {
		t.Helper()
		doc := m.Ctl(t, "get", "dataplane", "api-v2", "-o", "yaml")
		doc = regexp.MustCompile(`(?m)^    state: .*\n`).ReplaceAllString(doc, "") // the agent's own word
		doc = strings.Replace(doc, "  - port: 8080\n", "  - port: 8080\n    state: "+to+"\n", 1)
		if out := m.Apply(t, doc); strings.Contains(out, "unchanged") {
			t.Fatalf("the dataplane was not changed: %s\n%s", out, doc)
		}
	}
	t.Run("the own zone is preferred, and left where nobody there is well", func(t *testing.T) {
		becomes(t, "both", "http://api.mesh/", both)
		under(t, "http://api.mesh/", func() {
			m.Apply(t, fmt.Sprintf(meshDoc, true))
			becomes(t, "only v2, in the zone of web", "http://api.mesh/", v2)
			state(t, "NotReady")
			becomes(t, "v1, in the other zone", "http://api.mesh/", v1)
			state(t, "Ready")
			becomes(t, "v2 again", "http://api.mesh/", v2)
			m.Apply(t, fmt.Sprintf(meshDoc, false))
			becomes(t, "both again", "http://api.mesh/", both)
		})
	})

	template := func(modifications string) string {
		return "type: ProxyTemplate\nmesh: default\nname: t\nselectors: [{match: {kuma.io/service: web}}]\nconf:\n  modifications:\n" + modifications
	}
	const header = `  - virtualHost:
      operation: patch
      match: {origin: outbound, routeConfigurationName: "outbound:api"}
      value: "response_headers_to_add: [{header: {key: x-template, value: patched}}]"
  - httpFilter:
      operation: addFirst
      match: {listenerTags: {kuma.io/service: api}}
      value: |
        name: envoy.filters.http.header_mutation
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation
          mutations: {response_mutations: [{append: {header: {key: x-filter, value: added}}}]}
`
	headers := func(t *testing.T) string {
		t.Helper()
		_, out, err := web.Curl(t, "--dump-header", "-", "http://api.mesh/")
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	t.Run("a template is in force", func(t *testing.T) {
		under(t, "http://api.mesh/", func() {
			m.Apply(t, template(header))
			testmesh.Eventually(t, "both headers", func() error {
				if out := headers(t); !strings.Contains(out, "x-template: patched") || !strings.Contains(out, "x-filter: added") {
					return errors.New(out)
				}
				return nil
			})
		})
	})
	t.Run("what matches nothing is told, and the rest is in force", func(t *testing.T) {
		m.Apply(t, template(header+"  - cluster: {operation: remove, match: {name: nowhere}}\n"))
		tells(t, "web-1", "conf.modifications[2].cluster", "matches nothing of this proxy")
		if out := headers(t); !strings.Contains(out, "x-template: patched") {
			t.Error(out)
		}
	})
	t.Run("what is not in Envoy's words is refused by field", func(t *testing.T) {
		for value, want := range map[string]string{
			"{name: x, nonsense: 1}": "conf.modifications[0].cluster.value: is no Cluster of Envoy's",
			"{name: [x":              "conf.modifications[0].cluster.value: is no YAML",
		} {
			out, err := m.TryCtl(t, "apply", "-f", write(t, template(fmt.Sprintf("  - cluster: {operation: add, value: %q}\n", value))))
			if err == nil || !strings.Contains(fmt.Sprint(err, out), want) {
				t.Errorf("%s: %v %s; want %q", value, err, out, want)
			}
		}
	})
	t.Run("what Envoy refuses is told in its words, and calls go on", func(t *testing.T) {
		under(t, "http://api.mesh/", func() {
			m.Apply(t, template(`  - httpFilter:
      operation: addLast
      match: {listenerTags: {kuma.io/service: api}}
      value: |
        name: after-the-router
        typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer, max_request_bytes: 1000}
`))
			tells(t, "web-1", "refused:", "after-the-router", "terminal filter")
			testmesh.Eventually(t, "the overview of all tells, too", func() error { return inOverview(t, m, "web-1", "outbound:", "terminal filter") })
		})
	})
	t.Run("without it all is as before", func(t *testing.T) {
		under(t, "http://api.mesh/", func() {
			m.Ctl(t, "delete", "proxytemplate", "t")
			testmesh.Eventually(t, "no header, nothing refused", func() error {
				if out := headers(t); strings.Contains(out, "x-template") {
					return errors.New(out)
				}
				if out := plan(t, "web-1"); strings.Contains(out, "refused:") {
					return errors.New(out)
				}
				return nil
			})
		})
	})
}

// write puts text into a file of the test's own.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "doc.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
