//go:build linux

package e2e

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/internal/testnet"
)

// TestTrafficRoutes leads calls by what TrafficRoutes say.
func TestTrafficRoutes(t *testing.T) {
	f := newFleet(t)
	f.run(t, "without any route calls go to whoever offers the service", func(t *testing.T) {
		for version, n := range f.shares(t, 300) {
			if n < 98 || n > 102 {
				t.Errorf("%s was called %d times of 300", version, n)
			}
		}
	})
	f.run(t, "a split is kept within 3 points", f.split)
	f.run(t, "requests are matched by method, path and headers", f.match)
	f.run(t, "the backend sees what was modified", f.modify)
	f.run(t, "what no route selects fails, and is told", f.unrouted)
	f.run(t, "round robin goes round", f.roundRobin)
	f.run(t, "random does not", f.random)
	f.run(t, "least request spares who is slow", f.leastRequest)
	f.run(t, "ring hash keeps callers where they are", func(t *testing.T) { f.sticky(t, "ringHash: {minRingSize: 1024}", "RING_HASH") })
	f.run(t, "maglev keeps callers where they are", func(t *testing.T) { f.sticky(t, "maglev: {}", "MAGLEV") })
	f.run(t, "routes change under load", f.routesUnderLoad)
	f.run(t, "connections are split too", f.connections)
}

func (f *fleet) split(t *testing.T) {
	defer f.policy(t, "TrafficRoute", "canary", `
split:
- {weight: 80, destination: {kuma.io/service: api, version: v1}}
- {weight: 20, destination: {kuma.io/service: api, version: v2}}`)()
	f.await(t, "outbound:api", `"weight":80`)
	const n = 5000
	got := f.shares(t, n)
	for version, want := range map[string]float64{"v1": 80, "v2": 20, "v3": 0} {
		if share := 100 * float64(got[version]) / n; math.Abs(share-want) > 3 || want == 0 && share > 0 {
			t.Errorf("%s has %.1f of 100, want %.0f", version, share, want)
		}
	}
	t.Logf("80 to 20 over %d requests: %v", n, got)
}

func (f *fleet) match(t *testing.T) {
	defer f.policy(t, "TrafficRoute", "match", `
http:
- match: {method: {exact: DELETE}}
  destination: {kuma.io/service: api, version: v2}
- match: {path: {exact: /exact}}
  destination: {kuma.io/service: api, version: v2}
- match: {path: {prefix: /prefix}, headers: {x-who: {prefix: team-}}}
  destination: {kuma.io/service: api, version: v2}
- match: {path: {regex: '/user/[0-9]+'}}
  destination: {kuma.io/service: api, version: v3}
- match: {headers: {x-stage: {exact: beta}, x-n: {regex: '[0-9]+'}}}
  destination: {kuma.io/service: api, version: v3}
destination: {kuma.io/service: api, version: v1}`)()
	f.await(t, "outbound:api", `"/exact"`)
	for _, c := range []struct {
		method, path string
		header       http.Header
		want         string
	}{
		{"GET", "/", nil, "v1"},
		{"DELETE", "/", nil, "v2"},
		{"GET", "/exact", nil, "v2"},
		{"GET", "/exact?with=query", nil, "v2"},
		{"GET", "/exact/more", nil, "v1"},
		{"GET", "/prefix/more", nil, "v1"},
		{"GET", "/prefix/more", http.Header{"X-Who": {"team-a"}}, "v2"},
		{"GET", "/prefix/more", http.Header{"X-Who": {"a-team"}}, "v1"},
		{"GET", "/user/42", nil, "v3"},
		{"GET", "/user/42/more", nil, "v1"},
		{"GET", "/", http.Header{"X-Stage": {"beta"}}, "v1"},
		{"GET", "/", http.Header{"X-Stage": {"beta"}, "X-N": {"7"}}, "v3"},
		{"DELETE", "/user/42", nil, "v2"}, // the first rule counts
	} {
		for range 3 {
			if e, _ := f.seen(t, c.method, c.path, c.header); e.Version != c.want {
				t.Errorf("%s %s %v went to %s, want %s", c.method, c.path, c.header, e.Version, c.want)
			}
		}
	}
}

func (f *fleet) modify(t *testing.T) {
	defer f.policy(t, "TrafficRoute", "modify", `
http:
- match: {path: {prefix: /old/}}
  modify:
    path: {rewritePrefix: /new/}
    host: {value: inner.example}
    requestHeaders:
      add: [{name: x-set, value: 100%}, {name: x-more, value: b, append: true}]
      remove: [{name: cookie}]
    responseHeaders:
      add: [{name: x-by, value: route}, {name: x-version, value: of the route}]
      remove: [{name: x-inner}]
  destination: {kuma.io/service: '*'}
- match: {path: {prefix: /t/}}
  modify:
    path: {regex: {pattern: '^/t/([^/]+)/(.*)$', substitution: '/\2/of/\1'}}
    host: {fromPath: {pattern: '^/t/([^/]+)/.*$', substitution: '\1.example'}}
  destination: {kuma.io/service: '*'}
destination: {kuma.io/service: '*'}`)()
	f.await(t, "outbound:api", `"/old/"`)
	e, back := f.seen(t, "GET", "/old/page?a=b", http.Header{"X-Set": {"mine"}, "X-More": {"a"}, "Cookie": {"secret=1"}})
	if e.Path != "/new/page" || e.Query != "a=b" || e.Host != "inner.example" {
		t.Errorf("the backend saw %s?%s of %s", e.Path, e.Query, e.Host)
	}
	if h := e.Headers; h.Get("X-Set") != "100%" || strings.Join(h["X-More"], ",") != "a,b" || h.Get("Cookie") != "" {
		t.Errorf("the backend saw headers %v", h)
	}
	if back.Get("X-By") != "route" || strings.Join(back["X-Version"], ",") != "of the route" || back.Get("X-Inner") != "" {
		t.Errorf("the caller saw headers %v", back)
	}
	if e, _ := f.seen(t, "GET", "/t/acme/list", nil); e.Path != "/list/of/acme" || e.Host != "acme.example" {
		t.Errorf("the backend saw %s of %s", e.Path, e.Host)
	}
	if e, _ := f.seen(t, "GET", "/plain", nil); e.Path != "/plain" || e.Host != "api.mesh" || e.Headers.Get("X-Set") != "" {
		t.Errorf("without a rule the backend saw %+v", e)
	}
}

func (f *fleet) unrouted(t *testing.T) {
	f.Apply(t, `type: TrafficRoute
mesh: default
name: others
sources: [{match: {kuma.io/service: others}}]
destinations: [{match: {kuma.io/service: '*'}}]
conf: {destination: {kuma.io/service: '*'}}
`)
	f.await(t, "outbound:api", `!"routes"`)
	if r := f.get(t, "GET", "/", nil); r.status != http.StatusNotFound {
		t.Errorf("answer %d %s", r.status, r.body)
	}
	if out := f.Ctl(t, "inspect", "dataplane", "web-1", "--stage", "plan"); !strings.Contains(out, "none selects them") {
		t.Errorf("the plan does not tell:\n%s", out)
	}
	f.Ctl(t, "delete", "traffic-route", "others")
	testmesh.Eventually(t, "calls are answered again", func() error {
		if r := f.get(t, "GET", "/", nil); r.status != http.StatusOK {
			return fmt.Errorf("%d %s", r.status, r.body)
		}
		return nil
	})
}

// order calls api n times, one after the other, and tells who answered.
func (f *fleet) order(t *testing.T, n int) (versions []string) {
	t.Helper()
	for range n {
		e, _ := f.seen(t, "GET", "/order", nil)
		versions = append(versions, e.Version)
	}
	return versions
}

func repeats(versions []string) (n int) {
	for i := range versions[1:] {
		if versions[i] == versions[i+1] {
			n++
		}
	}
	return n
}

// balanced has calls balanced, and returns what takes that away.
func (f *fleet) balanced(t *testing.T, by, policy string) (undo func()) {
	t.Helper()
	undo = f.policy(t, "TrafficRoute", "balance", fmt.Sprintf("loadBalancer: {%s}\ndestination: {kuma.io/service: '*'}", by))
	if policy == "" {
		f.await(t, "api", `!"lb_policy"`)
	} else {
		f.await(t, "api", fmt.Sprintf(`"lb_policy":"%s"`, policy))
	}
	return undo
}

func (f *fleet) roundRobin(t *testing.T) {
	defer f.balanced(t, "roundRobin: {}", "")()
	versions := f.order(t, 90)
	for i := range versions[3:] {
		if versions[i] != versions[i+3] {
			t.Fatalf("the %dth of %v breaks the circle", i+3, versions)
		}
	}
	if repeats(versions) > 0 {
		t.Errorf("not round: %v", versions)
	}
}

func (f *fleet) random(t *testing.T) {
	defer f.balanced(t, "random: {}", "RANDOM")()
	for version, n := range f.shares(t, 1500) {
		if n < 400 || n > 600 { // more than 5 standard deviations
			t.Errorf("%s was called %d times of 1500", version, n)
		}
	}
	if n := repeats(f.order(t, 90)); n < 10 || n > 50 {
		t.Errorf("the same host %d times in a row of 90, want about 30", n)
	}
}

func (f *fleet) leastRequest(t *testing.T) {
	defer f.balanced(t, "leastRequest: {choiceCount: 3}", "LEAST_REQUEST")()
	defer f.api[0].does(nil)
	f.api[0].does(func(_ http.ResponseWriter, r *http.Request) { pause(r.Context(), time.Second) })
	got := f.shares(t, 600)
	if got["v1"] > 60 {
		t.Errorf("who is slow was called %d times of 600", got["v1"])
	}
	t.Logf("of 600 requests, v1 being slow: %v", got)
}

// pause holds a request up.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// sticky wants every caller to stay with one host, whoever else comes or goes.
func (f *fleet) sticky(t *testing.T, by, policy string) {
	defer f.balanced(t, by, policy)()
	f.await(t, f.listener, "weft.caller")
	// More callers than one: other addresses of web's host.
	callers := map[netip.Addr]string{f.web.IP4: ""}
	for i := range 8 {
		a := netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i)})
		f.web.Run(t, "ip", "address", "replace", a.String()+"/32", "dev", "eth0")
		callers[a] = ""
	}
	vip := netip.AddrPortFrom(f.web.Resolve(t, "api.mesh"), 80).String()
	ask := func(from netip.Addr) string {
		t.Helper()
		var first string
		for range 5 { // each on a connection of its own
			rt := &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
				return f.web.TryDial("tcp", vip, testnet.From(netip.AddrPortFrom(from, 0)))
			}}
			resp, err := (&http.Client{Transport: rt}).Get(fleetURL + "/sticky") //nolint:noctx // a test
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			got := resp.Header.Get("X-Version")
			if resp.StatusCode != http.StatusOK || first != "" && got != first {
				t.Fatalf("caller %s: %d by %q, before by %q", from, resp.StatusCode, got, first)
			}
			first = got
		}
		return first
	}
	perHost := map[string]int{}
	for c := range callers {
		callers[c] = ask(c)
		perHost[callers[c]]++
	}
	if len(perHost) < 2 {
		t.Errorf("all callers are with one host: %v", callers)
	}
	t.Logf("callers per host: %v", perHost)

	// One host goes: its callers move, nobody else, and they come back with it.
	gone := callers[f.web.IP4]
	f.ready(t, gone, false)
	moved := 0
	for c, was := range callers {
		if now := ask(c); now == gone {
			t.Errorf("caller %s is with %s, which is gone", c, now)
		} else if now != was {
			if was != gone {
				moved++
			}
		}
	}
	if moved > 1 { // maglev moves a few others
		t.Errorf("%d callers of hosts that stayed have moved", moved)
	}
	f.ready(t, gone, true)
	for c, was := range callers {
		if now := ask(c); now != was {
			t.Errorf("caller %s was with %s, is with %s after that came back", c, was, now)
		}
	}
}

// ready says whether a host of api wants calls, and waits until web knows.
func (f *fleet) ready(t *testing.T, version string, ready bool) {
	t.Helper()
	i := slices.IndexFunc(f.api, func(b *backend) bool { return b.version == version })
	f.document(t, f.api[i], func(doc string) string {
		state := "Ready"
		if !ready {
			state = "NotReady"
		}
		doc = strings.ReplaceAll(doc, "    state: Ready\n", "")
		doc = strings.ReplaceAll(doc, "    state: NotReady\n", "")
		return strings.Replace(doc, "    servicePort: 8080\n", "    servicePort: 8080\n    state: "+state+"\n", 1)
	})
	want := int64(2)
	if ready {
		want = 3
	}
	f.awaitStat(t, "cluster.api.membership_total", want)
}

// document changes the Dataplane of a host of api.
func (f *fleet) document(t *testing.T, b *backend, change func(string) string) {
	t.Helper()
	old := f.Ctl(t, "get", "dataplane", "api-"+b.version, "-o", "yaml")
	doc := change(old)
	if doc == old {
		t.Fatalf("nothing to change in\n%s", old)
	}
	f.Apply(t, doc)
}

func (f *fleet) routesUnderLoad(t *testing.T) {
	f.underLoad(t, func() {
		for i, step := range []struct{ conf, awaits, text string }{
			{"split: [{weight: 50, destination: {kuma.io/service: api, version: v1}}, {weight: 50, destination: {kuma.io/service: api, version: v2}}]", "outbound:api", `"weight":50`},
			{"split: [{weight: 99, destination: {kuma.io/service: api, version: v1}}, {weight: 1, destination: {kuma.io/service: api, version: v3}}]", "outbound:api", `"weight":99`},
			{"http: [{match: {path: {prefix: /load}}, modify: {path: {rewritePrefix: /moved}}, destination: {kuma.io/service: api, version: v3}}]\ndestination: {kuma.io/service: '*'}", "outbound:api", `"/moved"`},
			{"loadBalancer: {leastRequest: {}}\ndestination: {kuma.io/service: '*'}", "api", `"LEAST_REQUEST"`},
			{"loadBalancer: {random: {}}\ndestination: {kuma.io/service: '*'}", "api", `"RANDOM"`},
			{"loadBalancer: {ringHash: {}}\ndestination: {kuma.io/service: '*'}", "api", `"RING_HASH"`},
			{"loadBalancer: {maglev: {}}\ndestination: {kuma.io/service: '*'}", "api", `"MAGLEV"`},
			{"loadBalancer: {roundRobin: {}}\ndestination: {kuma.io/service: '*'}", "api", `!"lb_policy"`},
		} {
			f.put(t, "TrafficRoute", "moving", step.conf)
			f.await(t, step.awaits, step.text)
			t.Logf("change %d is in force", i)
		}
		f.Ctl(t, "delete", "traffic-route", "moving")
		f.await(t, "outbound:api", `"cluster":"api"`)
	})
}

// connections has api speak TCP, and counts connections.
func (f *fleet) connections(t *testing.T) {
	f.protocol(t, "http", "tcp")
	defer f.protocol(t, "tcp", "http")
	defer f.policy(t, "TrafficRoute", "tcp", `
split:
- {weight: 1, destination: {kuma.io/service: api, version: v1}}
- {weight: 3, destination: {kuma.io/service: api, version: v2}}`)()
	f.await(t, f.listener, "tcp_proxy", "weighted_clusters")
	tr := f.web.Transport(t, "api.mesh")
	tr.DisableKeepAlives = true
	path, n := newPath(), 1000
	if got := testmesh.Call(t, tr, fleetURL+path, n); got["200"] != n {
		t.Fatalf("answers %v", got)
	}
	got := f.counts(path)
	if share := 100 * float64(got["v1"]) / float64(n); math.Abs(share-25) > 5 || got["v3"] > 0 {
		t.Errorf("%v of %d connections, want a quarter and three", got, n)
	}
	t.Logf("1 to 3 over %d connections: %v", n, got)
}

// protocol has api speak something else, and waits until web knows. Hosts that
// differ speak TCP in common, so that it is the one way between two others.
func (f *fleet) protocol(t *testing.T, from, to string) {
	t.Helper()
	const tcp = "tcp"
	if from != tcp && to != tcp {
		f.protocol(t, from, tcp)
		from = tcp
	}
	for _, b := range f.api {
		f.document(t, b, func(doc string) string {
			return strings.Replace(doc, "kuma.io/protocol: "+from+"\n", "kuma.io/protocol: "+to+"\n", 1)
		})
	}
	if to == tcp {
		f.await(t, "api", "!http2_protocol_options")
		f.await(t, f.listener, "tcp_proxy")
		return
	}
	f.await(t, "api", "http2_protocol_options")
	f.await(t, f.listener, "http_connection_manager")
	f.await(t, "outbound:api", `"cluster":"api"`)
}
