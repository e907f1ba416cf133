//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/pkg/envoy"
)

// A fleet is a mesh in which web calls service api on three hosts: v1, v2, v3.
type fleet struct {
	*testmesh.Mesh
	web  *testmesh.Host
	api  []*backend
	rt   http.RoundTripper // calls from web
	step int

	listener string // by which web calls api
}

// A backend is one host of api. It knows nothing of the mesh, and counts.
type backend struct {
	*testmesh.Host
	version string

	mu       sync.Mutex
	requests map[string]int // by path
	handle   http.HandlerFunc
}

const fleetURL = "http://api.mesh"

func newFleet(t *testing.T) *fleet {
	f := &fleet{Mesh: testmesh.New(t)}
	join := func(service, name string, args ...string) *testmesh.Host {
		h := f.NewHost(t, service)
		// One worker, so that what balances has one state.
		args = append([]string{"--name", name, "--envoy-concurrency", "1", "--drain-time", "1s"}, args...)
		h.JoinMesh(t, f.JoinToken(t, service), args...)
		h.StartAgent(t)
		return h
	}
	f.web = join("web", "web-1")
	for _, version := range []string{"v1", "v2", "v3"} {
		b := &backend{Host: join("api", "api-"+version, "--tag", "version="+version), version: version, requests: map[string]int{}}
		testmesh.Serve(t, b.Host.Host, "127.0.0.1:8080", b)
		f.api = append(f.api, b)
	}
	for _, h := range []*testmesh.Host{f.web, f.api[0].Host, f.api[1].Host, f.api[2].Host} {
		h.WaitWell(t)
	}
	f.Apply(t, `type: TrafficPermission
mesh: default
name: everybody
sources: [{match: {kuma.io/service: '*'}}]
destinations: [{match: {kuma.io/service: '*'}}]
`)
	f.rt = f.web.Transport(t, "api.mesh")
	f.listener = fmt.Sprintf("outbound:%s:80", f.web.Resolve(t, "api.mesh"))
	testmesh.Eventually(t, "every host of api is called", func() error {
		path := newPath()
		got := testmesh.Call(t, f.rt, fleetURL+path, 9)
		for version, n := range f.counts(path) {
			if n == 0 || got["200"] < 9 {
				return fmt.Errorf("%s %d times; answers %v", version, n, got)
			}
		}
		return nil
	})
	return f
}

// run runs a step of a suite, and ends it where the step fails.
func (f *fleet) run(t *testing.T, name string, do func(t *testing.T)) {
	t.Helper()
	f.step++
	if !t.Run(fmt.Sprintf("%02d %s", f.step, name), do) {
		t.FailNow()
	}
}

// An echo is what a backend saw.
type echo struct {
	Version, Method, Path, Query, Host string
	Headers                            http.Header
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	b.requests[r.URL.Path]++
	handle := b.handle
	b.mu.Unlock()
	w.Header().Set("X-Version", b.version)
	w.Header().Set("X-Inner", "something")
	if handle != nil {
		handle(w, r)
		return
	}
	_ = json.NewEncoder(w).Encode(echo{b.version, r.Method, r.URL.Path, r.URL.RawQuery, r.Host, r.Header})
}

// does has the backend answer in another way, nil in the usual one.
func (b *backend) does(handle http.HandlerFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.handle = handle
}

// count is how many requests for the path came.
func (b *backend) count(path string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.requests[path]
}

// counts are how many requests for the path came to each host.
func (f *fleet) counts(path string) map[string]int {
	n := map[string]int{}
	for _, b := range f.api {
		n[b.version] = b.count(path)
	}
	return n
}

// shares calls api n times and tells who was called how often. Whoever is not
// answered fails the test.
func (f *fleet) shares(t *testing.T, n int) map[string]int {
	t.Helper()
	path := newPath()
	if got := testmesh.Call(t, f.rt, fleetURL+path, n); got["200"] != n {
		t.Fatalf("answers %v, want %d times 200", got, n)
	}
	return f.counts(path)
}

var paths struct {
	sync.Mutex
	n int
}

// newPath is one that nobody called.
func newPath() string {
	paths.Lock()
	defer paths.Unlock()
	paths.n++
	return fmt.Sprintf("/call/%d", paths.n)
}

// An answer is what came back.
type response struct {
	status int
	header http.Header
	body   string
	took   time.Duration
}

// get sends one request from web. Body and headers must arrive whole.
func (f *fleet) get(t *testing.T, method, path string, header http.Header) response {
	t.Helper()
	r, err := f.try(t, method, path, header)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

// try is get for what may fail.
func (f *fleet) try(t *testing.T, method, path string, header http.Header) (r response, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, fleetURL+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(req.Header, header)
	began := time.Now()
	resp, err := f.rt.RoundTrip(req)
	if err != nil {
		return r, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return response{resp.StatusCode, resp.Header, string(body), time.Since(began)}, err
}

// seen is what the backend saw of one request.
func (f *fleet) seen(t *testing.T, method, path string, header http.Header) (e echo, back http.Header) {
	t.Helper()
	r := f.get(t, method, path, header)
	if err := json.Unmarshal([]byte(r.body), &e); err != nil {
		t.Fatalf("%s %s: answer %d %q", method, path, r.status, r.body)
	}
	return e, r.header
}

// policy applies one for calls of web to api, and returns what takes it away
// and waits until web's Envoy is as it was before: what was applied before must
// be awaited first. Lines of conf begin at its margin.
func (f *fleet) policy(t *testing.T, kind, name, conf string) (undo func()) {
	t.Helper()
	before := f.ways(t)
	f.put(t, kind, name, conf)
	return func() {
		t.Helper()
		f.Ctl(t, "delete", kind, name)
		testmesh.Eventually(t, kind+" "+name+" is gone", func() error {
			if now := f.ways(t); now != before {
				return fmt.Errorf("it was\n%s\nand is\n%s", before, now)
			}
			return nil
		})
	}
}

// ways is all by which web's Envoy calls api, but for its endpoints.
func (f *fleet) ways(t *testing.T) string {
	t.Helper()
	dump, err := f.admin().ConfigDump(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range []string{"api", "outbound:api", f.listener} {
		if text, err := inUse(dump, name); err == nil {
			all.WriteString(text + "\n")
		}
	}
	return all.String()
}

func (f *fleet) admin() *envoy.Admin {
	return envoy.NewAdmin(filepath.Join(f.web.Dir, "run", "envoy", "admin.sock"))
}

// put applies one that stays.
func (f *fleet) put(t *testing.T, kind, name, conf string) {
	t.Helper()
	f.Apply(t, fmt.Sprintf(`type: %s
mesh: default
name: %s
sources: [{match: {kuma.io/service: '*'}}]
destinations: [{match: {kuma.io/service: api}}]
conf:
  %s
`, kind, name, strings.ReplaceAll(strings.TrimSpace(conf), "\n", "\n  ")))
}

// await waits until what web's Envoy uses of that name, a cluster, a route or a
// listener, says each of texts, as JSON without space, and none that begin with
// "!".
func (f *fleet) await(t *testing.T, name string, texts ...string) {
	t.Helper()
	testmesh.Eventually(t, fmt.Sprintf("%s is %v", name, texts), func() error {
		dump, err := f.admin().ConfigDump(t.Context())
		if err != nil {
			return err
		}
		text, err := inUse(dump, name)
		if err != nil {
			return err
		}
		for _, want := range texts {
			unwanted, not := strings.CutPrefix(want, "!")
			if strings.Contains(text, unwanted) == not {
				return fmt.Errorf("it is %s", text)
			}
		}
		return nil
	})
}

// inUse finds a cluster, route or listener that Envoy has in use.
func inUse(dump []byte, name string) (string, error) {
	type named struct{ Name string }
	var d struct {
		Configs []struct {
			Clusters []struct{ Cluster json.RawMessage } `json:"dynamic_active_clusters"`
			Routes   []struct {
				Config json.RawMessage `json:"route_config"`
			} `json:"dynamic_route_configs"`
			Listeners []struct {
				Active struct{ Listener json.RawMessage } `json:"active_state"`
			} `json:"dynamic_listeners"`
		}
	}
	if err := json.Unmarshal(dump, &d); err != nil {
		return "", err
	}
	var all []json.RawMessage
	for _, c := range d.Configs {
		for _, x := range c.Clusters {
			all = append(all, x.Cluster)
		}
		for _, x := range c.Routes {
			all = append(all, x.Config)
		}
		for _, x := range c.Listeners {
			all = append(all, x.Active.Listener)
		}
	}
	for _, text := range all {
		var n named
		if json.Unmarshal(text, &n) == nil && n.Name == name {
			var compact strings.Builder
			if err := compactJSON(&compact, text); err != nil {
				return "", err
			}
			return compact.String(), nil
		}
	}
	return "", fmt.Errorf("Envoy uses nothing called %s", name)
}

func compactJSON(w io.Writer, text []byte) error {
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// underLoad calls api all the while that do changes something, and wants every
// call to be answered.
func (f *fleet) underLoad(t *testing.T, do func()) {
	t.Helper()
	load := testmesh.StartLoad(t, f.rt, fleetURL+"/load", 300)
	do()
	if got := load.Stop(); got.Total() < 30 || got["200"] != got.Total() {
		stats, _ := f.admin().Stats(t.Context(), troubles)
		maps.DeleteFunc(stats, func(_ string, n int64) bool { return n == 0 })
		t.Errorf("answers %v, want many of 200 and nothing else; Envoy counted %v", got, stats)
	}
}

// troubles are what Envoy counts of requests that it did not answer well.
const troubles = `no_cluster|no_route|none_healthy|overflow|cx_connect_fail|rq_timeout|destroy_remote_with_active|rx_reset|upstream_rq_5xx`

// stat is one number of web's Envoy.
func (f *fleet) stat(t *testing.T, name string) int64 {
	t.Helper()
	stats, err := f.admin().Stats(t.Context(), "^"+name+"$")
	if err != nil {
		t.Fatal(err)
	}
	return stats[name]
}

// awaitStat waits until one number of web's Envoy is what is wanted.
func (f *fleet) awaitStat(t *testing.T, name string, want int64) {
	t.Helper()
	testmesh.Eventually(t, fmt.Sprintf("%s is %d", name, want), func() error {
		if n := f.stat(t, name); n != want {
			return fmt.Errorf("it is %d", n)
		}
		return nil
	})
}
