package rest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// shopDocuments are what the subcommands are asked about, by path.
var shopDocuments = map[string]string{
	"/meshes/default/dataplanes/web-1": `{"type": "Dataplane", "mesh": "default", "name": "web-1", "networking": {"address": "192.0.2.1",
		"inbound": [{"port": 80, "servicePort": 8080, "tags": {"kuma.io/service": "web", "kuma.io/protocol": "http", "version": "v1"}}],
		"outbound": [{"port": 10080, "tags": {"kuma.io/service": "api"}}]}}`,
	"/meshes/default/dataplanes/api-1":          strings.ReplaceAll(dataplane("api-1", "api"), "192.0.2.1", "192.0.2.2"),
	"/meshes/default/timeouts/t1":               `{"type": "Timeout", "mesh": "default", "name": "t1", "sources": [{"match": {"kuma.io/service": "*"}}], "destinations": [{"match": {"kuma.io/service": "api"}}], "conf": {"connectTimeout": "7s"}}`,
	"/meshes/default/traffic-permissions/allow": `{"type": "TrafficPermission", "mesh": "default", "name": "allow", "sources": [{"match": {"kuma.io/service": "web"}}], "destinations": [{"match": {"kuma.io/service": "api"}}]}`,
	"/meshes/default/external-services/bank":    `{"type": "ExternalService", "mesh": "default", "name": "bank", "tags": {"kuma.io/service": "bank", "kuma.io/protocol": "tcp"}, "networking": {"address": "192.0.2.99:443"}}`,
	"/zones/east":                               `{"type": "Zone", "name": "east", "enabled": true}`,
	"/zoneingresses/in":                         `{"type": "ZoneIngress", "name": "in", "networking": {"address": "192.0.2.7", "port": 10001}}`,
	"/zoneegresses/out":                         `{"type": "ZoneEgress", "name": "out", "networking": {"address": "192.0.2.8", "port": 10002}}`,
}

// shop puts them.
func (f *fixture) shop(t *testing.T) {
	t.Helper()
	for path, body := range shopDocuments {
		f.want(t, 201, "PUT", path, body)
	}
}

// TestSubcommands asks what every subcommand of kumactl 2.7 to 2.14 asks beside
// resources, and looks at what it reads of the answer.
func TestSubcommands(t *testing.T) {
	f := newFixture(t)
	f.shop(t)
	for _, c := range []struct {
		command, path string
		status        int
		words         []string
	}{
		{"version", "/", 200, []string{`"product": "Kuma"`, `"tagline": "Kuma"`, `"version"`, `"instanceId"`, `"clusterId"`}},
		{"get dataplanes --size --offset", "/meshes/default/dataplanes?size=1&offset=1", 200, []string{`"total": 2`, `"name": "web-1"`, `"next": null`}},
		{"get external-services", "/meshes/default/external-services?size=10", 200, []string{`"name": "bank"`}},
		{"get healthchecks", "/meshes/default/health-checks", 200, []string{`"items": []`}},
		{"get global-secrets", "/globalsecrets", 200, []string{`"total": 0`}},
		{"get global-secrets (alias)", "/global-secrets", 200, []string{`"total": 0`}},
		{"get zone-ingresses", "/zone-ingresses", 200, []string{`"name": "in"`}},
		{"inspect dataplanes", "/meshes/default/dataplanes/_overview?tag=kuma.io/service:web&gateway=false&ingress=false", 200,
			[]string{`"total": 1`, `"type": "DataplaneOverview"`, `"dataplane": {`}},
		{"inspect dataplanes (2.7)", "/meshes/default/dataplanes+insights?tag=version:v1", 200, []string{`"total": 2`}},
		{"inspect dataplanes NAME (2.7)", "/meshes/default/dataplanes+insights/web-1", 200, []string{`"type": "DataplaneOverview"`}},
		{"inspect zones", "/zones/_overview", 200, []string{`"type": "ZoneOverview"`, `"zone": {`, `"enabled": true`}},
		{"inspect zones (2.7)", "/zones+insights", 200, []string{`"type": "ZoneOverview"`}},
		{"inspect zones NAME (2.7)", "/zones+insights/east", 200, []string{`"type": "ZoneOverview"`}},
		{"inspect zoneingresses", "/zoneingresses/_overview", 200, []string{`"type": "ZoneIngressOverview"`, `"zoneIngress": {`}},
		{"inspect zoneingresses (2.7)", "/zoneingresses+insights", 200, []string{`"type": "ZoneIngressOverview"`}},
		{"inspect zoneingresses NAME (2.7)", "/zoneingresses+insights/in", 200, []string{`"zoneIngress": {`}},
		{"inspect zoneegresses", "/zoneegresses/_overview", 200, []string{`"type": "ZoneEgressOverview"`, `"zoneEgress": {`}},
		{"inspect zoneegresses (2.7)", "/zoneegressoverviews", 200, []string{`"type": "ZoneEgressOverview"`}},
		{"inspect zoneegresses NAME (2.7)", "/zoneegressoverviews/out", 200, []string{`"zoneEgress": {`}},
		{"inspect services", "/meshes/default/service-insights", 200, []string{`"total": 3`, `"name": "api"`, `"status": "offline"`, `"serviceType": "external"`}},
		{"inspect services, by page", "/service-insights?size=1&offset=1&type=internal", 200, []string{`"total": 2`, `"name": "web"`, `"next": null`}},
		{"inspect services, next", "/meshes/default/service-insights?size=1", 200, []string{"/meshes/default/service-insights?offset=1&size=1"}},
		{"inspect meshes", "/mesh-insights", 200, []string{`"type": "MeshInsight"`, `"Timeout": {`, `"standard": {`}},
		{"inspect mesh", "/mesh-insights/default", 200, []string{`"type": "MeshInsight"`}},
		{"inspect dataplane NAME", "/meshes/default/dataplanes/web-1/policies", 200, []string{`"kind": "SidecarDataplane"`, `"type": "outbound"`, `"name": "127.0.0.1:10080"`, `"t1"`}},
		{"inspect dataplane NAME --type config-dump", "/meshes/default/dataplanes/web-1/xds?include_eds=true", 400, []string{cannotAdmin, "not connected"}},
		{"inspect dataplane NAME --type stats", "/meshes/default/dataplanes/web-1/stats", 400, []string{cannotAdmin}},
		{"inspect dataplane NAME --type clusters", "/meshes/default/dataplanes/web-1/clusters", 400, []string{cannotAdmin}},
		{"inspect dataplane NAME --type config", "/meshes/default/dataplanes/web-1/_config?shadow=false&include=diff", 200, []string{`"xds": {`, `"diff": []`}},
		{"inspect dataplane absent", "/meshes/default/dataplanes/absent/policies", 404, []string{"Not found"}},
		{"inspect dataplane absent --type stats", "/meshes/default/dataplanes/absent/stats", 404, []string{"Not found"}},
		{"inspect zoneingress NAME --type config-dump", "/zoneingresses/in/xds", 400, []string{cannotAdmin}},
		{"inspect zoneegress NAME --type clusters", "/zoneegresses/out/clusters", 400, []string{cannotAdmin}},
		{"inspect meshgateway NAME", "/meshes/default/meshgateways/absent/dataplanes", 404, []string{"Not found"}},
		{"inspect timeout NAME", "/meshes/default/timeouts/t1/dataplanes", 200, []string{`"total": 1`, `"kind": "SidecarDataplane"`, `"type": "outbound"`, `"service": "api"`}},
		{"inspect timeout NAME --new-api", "/meshes/default/timeouts/t1/-resources/dataplanes", 200, []string{`"total": 1`, `"name": "web-1"`}},
		{"the same, as it is spelt", "/meshes/default/timeouts/t1/_resources/dataplanes?size=10&name=web", 200, []string{`"total": 1`, `"kri_dp_`}},
		{"inspect traffic-permission NAME", "/meshes/default/traffic-permissions/allow/dataplanes", 200, []string{`"type": "inbound"`, `"name": "192.0.2.2:80:80"`}},
		{"inspect traffic-permission absent", "/meshes/default/traffic-permissions/absent/dataplanes", 404, []string{"Not found"}},
		{"(GUI) dataplane rules", "/meshes/default/dataplanes/web-1/rules", 200, []string{`"items": []`}},
		{"(GUI) dataplane _rules", "/meshes/default/dataplanes/web-1/_rules", 200, []string{`"rules": []`, `"httpMatches": []`, `"resource": {`}},
		{"(GUI) layout", "/meshes/default/dataplanes/web-1/_layout", 200, []string{`"proxyResourceName": "inbound:192.0.2.1:80"`}},
		{"(GUI) inbound policies", "/meshes/default/dataplanes/web-1/_inbounds/x/_policies", 400, []string{"Exclusive"}},
		{"(GUI) hostnames", "/meshes/default/meshservices/absent/_hostnames", 404, nil},
		{"(GUI) by identifier", "/_kri/kri_dp_default_default__web-1_", 200, []string{`"name": "web-1"`}},
		{"(GUI) by identifier, of another zone", "/_kri/kri_dp_default_east__web-1_", 404, nil},
		{"(GUI) by no identifier", "/_kri/web-1", 400, []string{"kri_<short>"}},
		{"(GUI) global insight", "/global-insight", 200, []string{`"createdAt"`, `"controlPlanes": {`}},
		{"(old) global insights", "/global-insights", 200, []string{`"type": "GlobalInsights"`, `"Mesh": {`}},
		{"export", "/_resources", 200, []string{`"name": "Dataplane"`, `"readOnly": true`}},
		{"export --format kubernetes", "/meshes/default/timeouts/t1?format=kubernetes&namespace=mine", 200,
			[]string{`"apiVersion": "kuma.io/v1alpha1"`, `"kind": "Timeout"`, `"mesh": "default"`, `"namespace": "mine"`, `"spec": {`}},
		{"export, in a strange format", "/meshes/default/timeouts/t1?format=xml", 400, []string{`"field": "format"`}},
	} {
		t.Run(c.command, func(t *testing.T) { f.want(t, c.status, "GET", c.path, "", c.words...) })
	}
}

// TestExportReadsEverything: an export asks for the list of every type that
// /_resources names, in every mesh, also of those that are only told.
func TestExportReadsEverything(t *testing.T) {
	f := newFixture(t)
	f.shop(t)
	var doc struct {
		Resources []resourceType `json:"resources"`
	}
	if err := json.Unmarshal([]byte(f.want(t, 200, "GET", "/_resources", "")), &doc); err != nil {
		t.Fatal(err)
	}
	for _, r := range doc.Resources {
		path := "/" + r.Path
		if r.Scope == "Mesh" {
			f.want(t, 200, "GET", path, "", `"items": [`)
			path = "/meshes/default" + path
		}
		f.want(t, 200, "GET", path, "", `"items": [`)
		if r.ReadOnly {
			f.want(t, 405, "PUT", path+"/x", `{}`)
		}
	}
}

func TestConditionalWrites(t *testing.T) {
	f := newFixture(t)
	const path = "/meshes/default/dataplanes/a"
	ask := func(method, body string, status int, headers ...string) string {
		t.Helper()
		resp, text := f.request(t, method, path, body, headers...)
		if resp.status != status {
			t.Errorf("%s with %v answered %d, want %d:\n%s", method, headers, resp.status, status, text)
		}
		return resp.header.Get("ETag")
	}
	first := ask("PUT", dataplane("a", "web"), 201, "If-None-Match", "*")
	ask("PUT", dataplane("a", "web"), 412, "If-None-Match", "*")
	if got := ask("GET", "", 200); got != first || first == "" {
		t.Errorf("the ETag is %s, was %s when it was written", got, first)
	}
	second := ask("PUT", dataplane("a", "api"), 200, "If-Match", first)
	if second == first || second == "" {
		t.Errorf("the ETag is %s after a write, was %s before", second, first)
	}
	ask("PUT", dataplane("a", "web"), 412, "If-Match", first)
	ask("DELETE", "", 412, "If-Match", first)
	ask("PUT", dataplane("a", "web"), 400, "If-Match", "yesterday")
	ask("PUT", dataplane("a", "web"), 400, "If-None-Match", first)
	f.want(t, 200, "GET", path, "", `"kuma.io/service": "api"`)
	ask("DELETE", "", 200, "If-Match", second)
	ask("PUT", dataplane("a", "web"), 412, "If-Match", second)
	ask("PUT", dataplane("a", "web"), 201, "If-Match", "*") // as if it were not there
}

func TestDryRun(t *testing.T) {
	f := newFixture(t)
	f.shop(t)
	before := f.want(t, 200, "GET", "/meshes/default/timeouts", "")
	const quick = `{"type": "Timeout", "mesh": "default", "name": "t1", "sources": [{"match": {"kuma.io/service": "*"}}], "destinations": [{"match": {"kuma.io/service": "api"}}], "conf": {"connectTimeout": "8s"}}`
	f.want(t, 200, "PUT", "/meshes/default/timeouts/t1?dryRun=true", quick,
		`"change": "updated"`, `-  connectTimeout: 7s\n+  connectTimeout: 8s`, `"web-1"`, `-  - connectTimeout: 7s\n+  - connectTimeout: 8s`, `"looked": 2`)
	f.want(t, 200, "PUT", "/meshes/default/timeouts/t2?dryRun", strings.Replace(quick, "t1", "t2", 1), `"change": "created"`, `Timeout \"t2\"`)
	f.want(t, 200, "DELETE", "/meshes/default/timeouts/t1?dryRun=true", "", `"change": "deleted"`, `"web-1"`)
	f.want(t, 404, "DELETE", "/meshes/default/timeouts/t9?dryRun=true", "")
	f.want(t, 400, "PUT", "/meshes/default/timeouts/t1?dryRun=true", strings.Replace(quick, "8s", "soon", 1), "conf.connectTimeout")
	f.want(t, 400, "PUT", "/meshes/default/timeouts/t1?dryRun=perhaps", quick, `"field": "dryRun"`)
	f.want(t, 400, "DELETE", "/meshes/default?dryRun=true", "", "it still has 2 dataplanes")
	f.want(t, 200, "PUT", "/meshes/new?dryRun=true", `{"type": "Mesh", "name": "new"}`, `"change": "created"`)
	f.want(t, 404, "GET", "/meshes/new", "")
	if after := f.want(t, 200, "GET", "/meshes/default/timeouts", ""); after != before {
		t.Errorf("timeouts became\n%s\nwere\n%s", after, before)
	}
	secret := f.want(t, 200, "PUT", "/meshes/default/secrets/s?dryRun=true", `{"type": "Secret", "mesh": "default", "name": "s", "data": "c2VjcmV0"}`, `"change": "created"`)
	if strings.Contains(secret, "c2VjcmV0") {
		t.Errorf("the secret is told:\n%s", secret)
	}
}

func TestDiff(t *testing.T) {
	f := newFixture(t)
	f.shop(t)
	documents := strings.Join([]string{
		`{"type": "Mesh", "name": "new"}`,
		`{"type": "Timeout", "mesh": "new", "name": "t", "sources": [{"match": {"kuma.io/service": "*"}}], "destinations": [{"match": {"kuma.io/service": "*"}}], "conf": {"connectTimeout": "8s"}}`,
		`{"type": "Timeout", "mesh": "absent", "name": "t", "sources": [{"match": {"kuma.io/service": "*"}}], "destinations": [{"match": {"kuma.io/service": "*"}}], "conf": {"connectTimeout": "8s"}}`,
		strings.ReplaceAll(dataplane("api-1", "api"), "192.0.2.1", "192.0.2.3"),
		`{"type": "Zone", "name": "east", "enabled": true}`,
	}, "\n---\n")
	got := f.want(t, 200, "POST", "/_weft/diff", documents, `"change": "created"`, "its mesh is new, too", "Failed to retrieve Mesh", `"change": "updated"`, `"change": "unchanged"`,
		"endpoints of service api", "+  - address: 192.0.2.3:80")
	if strings.Count(got, `"change": "refused"`) != 1 {
		t.Errorf("not one is refused:\n%s", got)
	}
	f.want(t, 404, "GET", "/meshes/new", "")
	f.want(t, 200, "POST", "/meshes/default/_diff", strings.ReplaceAll(dataplane("api-1", "api"), "192.0.2.1", "192.0.2.3"), `"change": "updated"`)
	f.want(t, 400, "POST", "/meshes/default/_diff", `{"type": "Mesh", "name": "new"}`, `"field": "mesh"`)
	f.want(t, 404, "POST", "/meshes/absent/_diff", dataplane("a", "web"), "Failed to retrieve Mesh")
	f.want(t, 400, "POST", "/_weft/diff", `{"type": "Timeouts"}`, "there is no type")
	f.want(t, 400, "POST", "/_weft/diff", " ", "Bad Request")
}

func TestExplain(t *testing.T) {
	f := newFixture(t)
	f.shop(t)
	f.want(t, 200, "GET", "/meshes/default/_explain?from=web&to=api&path=/x&method=GET&header=a:b", "", `"verdict": "allowed"`, `Timeout \"t1\"`, `"address": "192.0.2.2:80"`)
	f.want(t, 400, "GET", "/meshes/default/_explain?from=wbe&to=api", "", `did you mean \"web\"?`, `"field": "from"`)
	f.want(t, 400, "GET", "/meshes/default/_explain", "", `"field": "from"`, `"field": "to"`)
	f.want(t, 400, "GET", "/meshes/default/_explain?from=web&to=api&header=x", "", `"field": "header"`)
	f.want(t, 404, "GET", "/meshes/absent/_explain?from=web&to=api", "", "Failed to retrieve Mesh")
}

func TestLenient(t *testing.T) {
	f := newFixture(t)
	misspelt := strings.Replace(dataplane("a", "web"), `"port": 80`, `"port": 80, "servcePort": 81`, 1)
	f.want(t, 400, "PUT", "/meshes/default/dataplanes/a", misspelt, "networking.inbound[0].servcePort", `did you mean \"servicePort\"?`)
	f.want(t, 201, "PUT", "/meshes/default/dataplanes/a?lenient=true", misspelt, `"warnings": [`, "networking.inbound[0].servcePort was left out", `did you mean \"servicePort\"?`)
	f.want(t, 400, "PUT", "/meshes/default/dataplanes/a?lenient=true", strings.Replace(misspelt, "80", `"x"`, 1), "networking.inbound[0].port")
}

func TestReadOnly(t *testing.T) {
	f := newFixture(t, func(s *Server) { s.ReadOnly = true })
	f.want(t, 405, "PUT", "/meshes/m", `{"type": "Mesh", "name": "m"}`, "Method not Allowed", "apiReadOnly")
	f.want(t, 405, "DELETE", "/meshes/default", "", "Method not Allowed")
	f.want(t, 200, "PUT", "/meshes/m?dryRun=true", `{"type": "Mesh", "name": "m"}`, `"change": "created"`)
	f.want(t, 200, "GET", "/meshes/default", "")
	f.want(t, 200, "POST", "/tokens/dataplane", `{"mesh": "default"}`)
}

// TestNobodyWritesThroughAPreview: what one may not write one may not try.
func TestNobodyWritesThroughAPreview(t *testing.T) {
	f := newFixture(t)
	f.Authenticate = func(*http.Request) (User, error) { return User{Name: "joe", Groups: []string{AuthenticatedGroup}}, nil }
	f.want(t, 403, "PUT", "/meshes/default/secrets/s?dryRun=true", `{"type": "Secret", "mesh": "default", "name": "s", "data": "YQ=="}`)
	f.want(t, 403, "POST", "/_weft/diff", `{"type": "Secret", "mesh": "default", "name": "s", "data": "YQ=="}`)
	f.want(t, 403, "GET", "/_kri/kri_dp_default_default__web-1_", "")
}

// TestNames: display names of every kind are words.
func TestNames(t *testing.T) {
	for name, want := range map[string]string{"MeshHTTPRoute": "Mesh HTTP Route", "MeshTLS": "Mesh TLS", "TrafficPermission": "Traffic Permission", "Retry": "Retry"} {
		k, ok := mesh.KindByName(name)
		if got := singular(k); !ok || got != want {
			t.Errorf("%s is shown as %q, want %q", name, got, want)
		}
	}
	if !slices.ContainsFunc(mesh.Kinds, func(k *mesh.Kind) bool { return plural(k) == "Mesh TLSes" }) {
		t.Error("no kind is shown as Mesh TLSes")
	}
}

func TestNegotiation(t *testing.T) {
	f := newFixture(t)
	for accept, want := range map[string]string{
		"":                                    typeJSON,
		"*/*":                                 typeJSON,
		"application/json":                    typeJSON,
		"application/yaml":                    typeYAML,
		"text/yaml, */*;q=0.1":                typeYAML,
		"application/json, text/yaml":         typeJSON,
		"application/json;q=0.5, text/yaml":   typeYAML,
		"application/yaml;q=x, text/html;;,=": typeJSON,
		"image/png":                           typeJSON,
	} {
		resp, body := f.request(t, "GET", "/meshes/default", "", "Accept", accept)
		if got := resp.header.Get("Content-Type"); got != want || resp.status != 200 || (want == typeYAML) != strings.Contains(body, "type: Mesh\nname: default\n") {
			t.Errorf("%q is answered %d %s:\n%s", accept, resp.status, got, body)
		}
	}
	if resp, body := f.request(t, "GET", "/nonsense", "", "Accept", "text/yaml"); resp.status != 404 || !strings.Contains(body, "status: 404") {
		t.Errorf("a fault is answered %d:\n%s", resp.status, body)
	}
}

// TestPreviewsAsRoles: a preview shows no more than who asks may see, and
// takes nothing that he may not write.
func TestPreviewsAsRoles(t *testing.T) {
	f, be := newRoles(t)
	be(admin())
	timeout := func(in string) string {
		return `{"type": "Timeout", "mesh": "` + in + `", "name": "t", "sources": [{"match": {"kuma.io/service": "*"}}], "destinations": [{"match": {"kuma.io/service": "*"}}], "conf": {"connectTimeout": "8s"}}`
	}
	for _, in := range []string{"a", "b"} {
		f.want(t, 201, "PUT", "/meshes/"+in+"/dataplanes/web", strings.ReplaceAll(strings.ReplaceAll(dataplane("web", "web"), `"default"`, `"`+in+`"`), `"port": 80,`, `"port": 80, "servicePort": 81,`))
	}
	be(User{Name: "owner-a", Groups: []string{"team-a"}})
	f.want(t, 200, "POST", "/meshes/a/_diff", timeout("a"), `"change": "created"`, `"of": 1`)
	f.want(t, 200, "POST", "/meshes/a/_diff", `{"type": "Secret", "mesh": "a", "name": "s", "data": "YQ=="}`, `"change": "refused"`, "Access Denied")
	f.want(t, 403, "POST", "/meshes/b/_diff", timeout("b"))
	f.want(t, 403, "POST", "/_weft/diff", timeout("a"))
	f.want(t, 403, "GET", "/meshes/b/_explain?from=web&to=web", "")
	f.want(t, 403, "PUT", "/meshes/b/timeouts/t?dryRun=true", timeout("b"))
	be(User{Name: "writes-all"}) // and inspects nothing
	f.want(t, 200, "PUT", "/meshes/a/timeouts/t?dryRun=true", timeout("a"), `"change": "created"`, `"of": 0`)
	be(User{Name: "sees-all"}) // and writes nothing
	f.want(t, 200, "POST", "/_weft/diff", timeout("a"), `"change": "refused"`, "Access Denied")
}

// TestDiffReadsSoMany: what many small documents cost is bounded.
func TestDiffReadsSoMany(t *testing.T) {
	f := newFixture(t)
	one := "---\n{type: Zone, name: z}\n"
	resp, body := f.request(t, "POST", "/_weft/diff", strings.Repeat(one, maxDocuments+1), "Content-Type", "application/yaml")
	if resp.status != http.StatusBadRequest || !strings.Contains(body, "more than 1000 documents") {
		t.Errorf("%d %s", resp.status, body)
	}
	if resp, body = f.request(t, "POST", "/_weft/diff", "# nothing\n", "Content-Type", "application/yaml"); resp.status != http.StatusBadRequest || !strings.Contains(body, "no document") {
		t.Errorf("%d %s", resp.status, body)
	}
}
