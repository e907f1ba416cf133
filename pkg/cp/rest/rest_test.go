package rest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/cp/admission"
	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/memory"
	"github.com/weft-mesh/weft/pkg/mesh"
)

const token = "the admin token of these tests"

type noAuthority struct{}

func (noAuthority) Ensure(context.Context, string, *mesh.MeshSpec) error { return nil }

type noAuthorities struct{}

func (noAuthorities) Status(_ context.Context, mesh string) (api.MeshAuthorities, error) {
	return api.MeshAuthorities{Mesh: mesh}, nil
}
func (noAuthorities) Rotate(context.Context, string, string, time.Duration, time.Duration) error {
	return nil
}
func (noAuthorities) EndRotation(context.Context, string) error { return nil }
func (noAuthorities) OwnStatus(context.Context) (api.OwnAuthority, error) {
	return api.OwnAuthority{}, nil
}
func (noAuthorities) RotateOwn(context.Context, string, time.Duration, time.Duration) error {
	return nil
}
func (noAuthorities) EndOwnRotation(context.Context) error { return nil }

type noTokens struct{}

func (noTokens) Keys(context.Context, string, string) (api.SigningKeys, error) {
	return api.SigningKeys{}, nil
}
func (noTokens) RotateKey(context.Context, string, string) (string, error) { return "2", nil }
func (noTokens) DropKey(context.Context, string, string, string) error     { return nil }
func (noTokens) Revoke(context.Context, string, string, string) error      { return nil }

type noKeys struct{}

func (noKeys) Ensure(context.Context, string) error { return nil }

// A log keeps what was logged. Handlers log from goroutines of their own.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// A fixture is a control plane's interface over an empty store with the mesh
// "default".
type fixture struct {
	*Server
	log *log
	url string
}

// newFixture starts a server on loopback; change alters it before.
func newFixture(t *testing.T, change ...func(*Server)) *fixture {
	t.Helper()
	f := newUnserved(t, change...)
	srv := httptest.NewServer(f.Handler())
	t.Cleanup(srv.Close)
	f.url = srv.URL
	return f
}

// newUnserved is newFixture without a server.
func newUnserved(t *testing.T, change ...func(*Server)) *fixture {
	t.Helper()
	s := memory.New()
	t.Cleanup(func() { _ = s.Close() })
	adm := &admission.Admission{Store: s, Authority: noAuthority{}, Keys: noKeys{}}
	if err := adm.EnsureDefaultMesh(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := &log{}
	f := &fixture{log: l, Server: &Server{
		Store:        s,
		Admission:    adm,
		Authenticate: AdminToken(sha256.Sum256([]byte(token))),
		Info:         api.Info{Version: "1.2.3", Hostname: "h", InstanceID: "i", ClusterID: "c"},
		Config:       func() any { return map[string]string{"dataDir": "/var/lib/weft-cp"} },
		Hosts:        func() (api.Hosts, error) { return api.Hosts{}, nil },
		IssueDataplane: func(context.Context, api.DataplaneTokenRequest) (string, error) {
			return "a.b.c", nil
		},
		Authorities: noAuthorities{},
		Tokens:      noTokens{},
		IssueZone:   func(context.Context, api.ZoneTokenRequest) (string, error) { return "a.b.z", nil },
		IssueUser:   func(context.Context, api.UserTokenRequest) (string, error) { return "a.b.u", nil },
		Stage:       func(context.Context, string, string, string) ([]byte, error) { return []byte("a: 1\n"), nil },
		Insight: func(context.Context, string, string) (api.DataplaneInsight, error) {
			return api.DataplaneInsight{}, nil
		},
		Ask: func(context.Context, string, string, *hostv1.Question) ([]byte, error) {
			return nil, fmt.Errorf("%w: its agent is not connected", ErrNoView)
		},
		KnownInsight: func(string, string) api.DataplaneInsight { return api.DataplaneInsight{} },
		State:        func(ctx context.Context) (*snapshot.State, error) { return stateOf(ctx, s) },
		Online:       func(string, string) bool { return false },
		Log:          slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}}
	for _, c := range change {
		c(f.Server)
	}
	return f
}

// stateOf is what a control plane sees of a store.
func stateOf(ctx context.Context, s store.Store) (*snapshot.State, error) {
	page, err := s.List(ctx, store.Query{})
	if err != nil {
		return nil, err
	}
	var in snapshot.Input
	for _, r := range page.Items {
		in.Changes = append(in.Changes, store.Change{Key: r.Key(), Version: r.Meta.Version, Now: &r})
	}
	return snapshot.Next(snapshot.Empty(), in), nil
}

// request asks as administrator; headers are pairs.
func (f *fixture) request(t *testing.T, method, path, body string, headers ...string) (reply, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, f.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
		if headers[i+1] == "" {
			req.Header.Del(headers[i])
		}
	}
	return do(t, http.DefaultClient, req)
}

func do(t *testing.T, c *http.Client, req *http.Request) (reply, string) {
	t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header}, string(data)
}

// A reply is what of a response is left when its body is read.
type reply struct {
	status int
	header http.Header
}

// want asks and wants a status, and words in the answer.
func (f *fixture) want(t *testing.T, status int, method, path, body string, words ...string) string {
	t.Helper()
	resp, got := f.request(t, method, path, body)
	if resp.status != status {
		t.Errorf("%s %s answered %d, want %d:\n%s", method, path, resp.status, status, got)
	}
	for _, w := range words {
		if !strings.Contains(got, w) {
			t.Errorf("%s %s lacks %q:\n%s", method, path, w, got)
		}
	}
	return got
}

func TestAsKumactl(t *testing.T) {
	f := newFixture(t)
	for _, step := range readSteps(t, "testdata/kumactl.txt") {
		resp, got := f.request(t, step.method, step.path, step.send)
		if resp.status != step.status {
			t.Errorf("%s %s answered %d, want %d", step.method, step.path, resp.status, step.status)
		}
		if resp.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s has type %q", step.method, step.path, resp.header.Get("Content-Type"))
		}
		if d := cmp.Diff(parse(t, step.want), parse(t, got)); d != "" {
			t.Errorf("%s %s differs (-want +got):\n%s", step.method, step.path, d)
		}
	}
}

// parse reads JSON, with all times replaced by TIME.
func parse(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	maskTimes(v)
	return v
}

func maskTimes(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			maskTimes(e)
		}
	case map[string]any:
		for key, e := range v {
			if strings.HasSuffix(key, "Time") || key == "createdAt" {
				v[key] = "TIME"
			}
			maskTimes(e)
		}
	}
}

func TestAbout(t *testing.T) {
	f := newFixture(t)
	got := parse(t, f.want(t, 200, "GET", "/", ""))
	want := map[string]any{
		"product": "Kuma", "tagline": "Kuma", "version": "1.2.3", "basedOnKuma": kumaVersion,
		"hostname": "h", "instanceId": "i", "clusterId": "c",
	}
	if d := cmp.Diff(any(want), got); d != "" {
		t.Errorf("GET / differs (-want +got):\n%s", d)
	}
	f.want(t, 200, "GET", "/config", "", `"dataDir": "/var/lib/weft-cp"`)
	f.want(t, 200, "GET", "/_weft/hosts", "", `"addresses": []`, `"authority": ""`)
}

func TestVersionCanBeCompared(t *testing.T) {
	for version, want := range map[string]string{
		"1.2.3": "1.2.3", "v1.2.3": "1.2.3", "v1.2.3-4-gabc-dirty": "1.2.3-4-gabc-dirty", "be566b0": "0.0.0+be566b0", "dev": "0.0.0+dev", "a b_c": "0.0.0+a-b-c",
	} {
		if got := semVer(version); got != want {
			t.Errorf("%s is told as %s, want %s", version, got, want)
		}
	}
}

func TestTypes(t *testing.T) {
	f := newFixture(t)
	got := f.want(t, 200, "GET", "/_resources", "")
	var doc struct {
		Resources []resourceType `json:"resources"`
	}
	if err := json.Unmarshal([]byte(got), &doc); err != nil {
		t.Fatal(err)
	}
	byName := map[string]resourceType{}
	for i, r := range doc.Resources {
		if i > 0 && doc.Resources[i-1].Name >= r.Name {
			t.Errorf("%s comes before %s", doc.Resources[i-1].Name, r.Name)
		}
		byName[r.Name] = r
	}
	if len(byName) != len(mesh.Kinds) {
		t.Errorf("%d types, want all %d", len(byName), len(mesh.Kinds))
	}
	for _, want := range []resourceType{
		{Name: "Mesh", Path: "meshes", Scope: "Global", ShortName: "m", SingularDisplayName: "Mesh", PluralDisplayName: "Meshes", IncludeInFederation: true},
		{Name: "Dataplane", Path: "dataplanes", Scope: "Mesh", ShortName: "dp", SingularDisplayName: "Dataplane", PluralDisplayName: "Dataplanes"},
		{Name: "TrafficPermission", Path: "traffic-permissions", Scope: "Mesh", SingularDisplayName: "Traffic Permission",
			PluralDisplayName: "Traffic Permissions", IncludeInFederation: true, Policy: &policyType{}},
	} {
		if d := cmp.Diff(want, byName[want.Name]); d != "" {
			t.Errorf("%s differs (-want +got):\n%s", want.Name, d)
		}
	}
	f.want(t, 200, "GET", "/policies", "", `"name": "TrafficPermission"`, `"path": "traffic-permissions"`, `"isTargetRefBased": false`)
	if p := plural(&mesh.Kind{Name: "HealthCheck", Path: "health-checks"}) + plural(&mesh.Kind{Name: "Retry", Path: "retries"}); p != "Health ChecksRetries" {
		t.Errorf("plurals are %q", p)
	}
}

func TestGetThenPutChangesNothing(t *testing.T) {
	f := newFixture(t)
	f.want(t, 201, "PUT", "/meshes/default/dataplanes/a", dataplane("a", "web"))
	got := f.want(t, 200, "GET", "/meshes/default/dataplanes/a", "")
	f.want(t, 200, "PUT", "/meshes/default/dataplanes/a", got)
	if again := f.want(t, 200, "GET", "/meshes/default/dataplanes/a", ""); again != got {
		t.Errorf("it became\n%s\nwas\n%s", again, got)
	}
}

func TestYAMLBody(t *testing.T) {
	f := newFixture(t)
	resp, body := f.request(t, "PUT", "/meshes/m", "type: Mesh\nname: m\n", "Content-Type", "application/yaml")
	if resp.status != 201 {
		t.Errorf("answered %d: %s", resp.status, body)
	}
}

func TestWarnings(t *testing.T) {
	f := newFixture(t)
	dp := strings.Replace(dataplane("a", "web"), `"kuma.io/service"`, `"kuma.io/zone": "east", "kuma.io/service"`, 1)
	f.want(t, 201, "PUT", "/meshes/default/dataplanes/a", dp, `"warnings": [`, "kuma.io/zone", "east")
}

func TestRefused(t *testing.T) {
	f := newFixture(t)
	f.want(t, 201, "PUT", "/meshes/default/dataplanes/a", dataplane("a", "web"))
	f.want(t, 400, "DELETE", "/meshes/default", "", "Could not delete a resource", `"field": "mesh"`, "delete them first")
	f.want(t, 400, "PUT", "/meshes/default", `{"type": "Mesh", "name": "default", "mtls": {"enabledBackend": "b",
		"backends": [{"name": "b", "type": "builtin"}]}}`, "Could not process a resource", `"field": "mtls.enabledBackend"`)
	f.want(t, 200, "GET", "/meshes/default", "", `"enabledBackend": "ca-1"`)
}

func TestTokens(t *testing.T) {
	var asked api.DataplaneTokenRequest
	var fail error
	f := newFixture(t, func(s *Server) {
		s.IssueDataplane = func(_ context.Context, req api.DataplaneTokenRequest) (string, error) {
			asked = req
			return "a.b.c", fail
		}
	})
	resp, got := f.request(t, "POST", "/tokens/dataplane",
		`{"name": "", "mesh": "default", "tags": {"kuma.io/service": ["web", "api"]}, "type": "", "workload": "", "validFor": "1h0m0s"}`)
	if resp.status != 200 || got != "a.b.c" || !strings.HasPrefix(resp.header.Get("Content-Type"), "text/plain") {
		t.Errorf("answered %d %s %q", resp.status, resp.header.Get("Content-Type"), got)
	}
	want := api.DataplaneTokenRequest{Mesh: "default", Tags: map[string][]string{"kuma.io/service": {"web", "api"}}, ValidFor: "1h0m0s"}
	if d := cmp.Diff(want, asked); d != "" {
		t.Errorf("the issuer was asked for (-want +got):\n%s", d)
	}
	if strings.Contains(f.log.String(), "a.b.c") || !strings.Contains(f.log.String(), "dataplane token was issued") {
		t.Errorf("the log says:\n%s", f.log)
	}
	fail = mesh.Violations{{Field: "validFor", Reason: "must be a duration"}}
	f.want(t, 400, "POST", "/tokens/dataplane", `{"mesh": "default", "validFor": "x"}`, `"title": "Invalid request"`, `"field": "validFor"`)
	f.want(t, 400, "POST", "/tokens/dataplane", `{"mesh": `, `"title": "Bad Request"`)
	f.want(t, 400, "POST", "/tokens/dataplane", `{"mesh": 7}`, `"title": "Bad Request"`)
	f.want(t, 400, "POST", "/tokens/dataplane", `{"mesh": "default", "tag": {"kuma.io/service": ["web"]}}`, `unknown field`)
	f.want(t, 400, "POST", "/tokens/dataplane", `{"mesh": "default"} {"tags": {}}`, `"title": "Bad Request"`)
}

func TestStages(t *testing.T) {
	f := newFixture(t, func(s *Server) {
		s.Stage = func(_ context.Context, in, name, stage string) ([]byte, error) {
			switch {
			case stage == "none":
				return nil, mesh.Violations{{Field: "stage", Reason: "is none"}}
			case name == "absent":
				return nil, store.ErrNotFound
			}
			return []byte("id: " + in + "." + name + "." + stage + "\n"), nil
		}
	})
	resp, got := f.request(t, "GET", "/meshes/default/dataplanes/web-1/_stages/plan", "")
	if resp.status != 200 || got != "id: default.web-1.plan\n" || !strings.HasPrefix(resp.header.Get("Content-Type"), "text/yaml") {
		t.Errorf("answered %d %s %q", resp.status, resp.header.Get("Content-Type"), got)
	}
	f.want(t, 400, "GET", "/meshes/default/dataplanes/web-1/_stages/none", "", `"field": "stage"`)
	f.want(t, 404, "GET", "/meshes/default/dataplanes/absent/_stages/plan", "", "Could not inspect a dataplane")
}

func dataplane(name, service string) string {
	return `{"type": "Dataplane", "mesh": "default", "name": "` + name + `", "networking": {"address": "192.0.2.1",
		"inbound": [{"port": 80, "tags": {"kuma.io/service": "` + service + `", "version": "v1"}}]}}`
}
