package inspect_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/inspect"
	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// shop is a mesh with mTLS: web may call api, of which v2 gets a tenth of
// /cart, and nobody may call db.
const shop = `
type: Mesh
name: default
mtls: {enabledBackend: ca-1, backends: [{name: ca-1, type: builtin}]}
---
type: Dataplane
mesh: default
name: web-1
networking:
  address: 192.0.2.1
  inbound: [{port: 80, servicePort: 8080, tags: {kuma.io/service: web, kuma.io/protocol: http}}]
  outbound: [{port: 10080, tags: {kuma.io/service: api}}, {port: 10081, tags: {kuma.io/service: db}}]
---
type: Dataplane
mesh: default
name: web-2
networking:
  address: 192.0.2.4
  inbound: [{port: 80, servicePort: 8080, tags: {kuma.io/service: web, kuma.io/protocol: http}}]
  outbound: [{port: 10080, tags: {kuma.io/service: api}}]
---
type: Dataplane
mesh: default
name: api-1
networking:
  address: 192.0.2.2
  inbound: [{port: 80, servicePort: 8080, tags: {kuma.io/service: api, kuma.io/protocol: http, version: v1}}]
---
type: Dataplane
mesh: default
name: api-2
networking:
  address: 192.0.2.3
  inbound: [{port: 80, servicePort: 8080, tags: {kuma.io/service: api, kuma.io/protocol: http, version: v2}}]
---
type: Dataplane
mesh: default
name: db-1
networking:
  address: 192.0.2.5
  inbound: [{port: 5432, servicePort: 5433, tags: {kuma.io/service: db}}, {port: 81, servicePort: 8081, state: NotReady, tags: {kuma.io/service: stats}}]
---
type: TrafficPermission
mesh: default
name: web-to-api
sources: [{match: {kuma.io/service: web}}]
destinations: [{match: {kuma.io/service: api}}]
---
type: TrafficRoute
mesh: default
name: all
sources: [{match: {kuma.io/service: '*'}}]
destinations: [{match: {kuma.io/service: '*'}}]
conf: {destination: {kuma.io/service: '*'}}
---
type: TrafficRoute
mesh: default
name: cart
sources: [{match: {kuma.io/service: web}}]
destinations: [{match: {kuma.io/service: api}}]
conf:
  http:
  - match: {path: {prefix: /cart}, method: {exact: POST}}
    split:
    - {weight: 90, destination: {kuma.io/service: api, version: v1}}
    - {weight: 10, destination: {kuma.io/service: api, version: v2}}
  destination: {kuma.io/service: '*'}
---
type: Timeout
mesh: default
name: quick
sources: [{match: {kuma.io/service: web}}]
destinations: [{match: {kuma.io/service: api}}]
conf: {connectTimeout: 3s, http: {requestTimeout: 7s}}
---
type: Retry
mesh: default
name: again
sources: [{match: {kuma.io/service: '*'}}]
destinations: [{match: {kuma.io/service: '*'}}]
conf: {http: {numRetries: 4}}
---
type: RateLimit
mesh: default
name: slow
sources: [{match: {kuma.io/service: web}}]
destinations: [{match: {kuma.io/service: api}}]
conf: {http: {requests: 9, interval: 10s}}
`

var began = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// changesOf reads documents as writes, each a second after the other.
func changesOf(t *testing.T, text string) (changes []store.Change) {
	t.Helper()
	rs, err := api.DecodeAll([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rs {
		r.Meta.Version = mesh.Version(i + 1)
		r.Meta.Created = began.Add(time.Duration(i) * time.Second)
		r.Meta.Modified = r.Meta.Created
		changes = append(changes, store.Change{Key: r.Key(), Version: r.Meta.Version, Now: &r})
	}
	return changes
}

func stateOf(t *testing.T, text string) *snapshot.State {
	t.Helper()
	return snapshot.Next(snapshot.Empty(), snapshot.Input{Changes: changesOf(t, text)})
}

func online(_, name string) bool { return !strings.HasSuffix(name, "-2") }

func TestExplain(t *testing.T) {
	m := stateOf(t, shop).Mesh("default")
	for _, c := range []struct {
		name    string
		call    inspect.Call
		verdict string
		words   []string // in what is told
		never   []string
	}{
		{
			"allowed", inspect.Call{From: "web", To: "api"}, api.VerdictAllowed,
			[]string{
				`TrafficPermission \"web-to-api\" decides`, `"dataplane":"web-1"`, `"others":1`, `TrafficRoute \"cart\"`, `"rule":1`, "192.0.2.2:80", "192.0.2.3:80",
				`Timeout \"quick\"`, `"request":"7s"`, `"3s"`, `Retry \"again\"`, `"attempts":4`, `RateLimit \"slow\"`, `"where":"callee api-1"`,
			},
			[]string{`"from":"Timeout \"quick\"","values":{"from"`},
		},
		{
			"by a rule", inspect.Call{From: "web.mesh", To: "api.mesh:80", Method: "POST", Path: "/cart/7?x=y"}, api.VerdictAllowed,
			[]string{`"rule":0`, `path begins with \"/cart\"`, `method is \"POST\"`, `"percent":90`, `"percent":10`, `"tags":{"version":"v2"}`}, nil,
		},
		{"other method", inspect.Call{From: "web", To: "api", Method: "GET", Path: "/cart"}, api.VerdictAllowed, []string{`"rule":1`}, nil},
		{"one dataplane", inspect.Call{From: "web-2", To: "api-2"}, api.VerdictAllowed, []string{"192.0.2.3:80", `"connected":false`}, []string{"192.0.2.2:80"}},
		{"by tags", inspect.Call{From: "kuma.io/service=web", To: "kuma.io/service=api,version=v2"}, api.VerdictAllowed, []string{`"version":"v2"`}, nil},
		{"denied", inspect.Call{From: "web", To: "db"}, api.VerdictDenied, []string{"no TrafficPermission has destinations that match", "is denied"}, []string{"quick"}},
		{"not listed", inspect.Call{From: "api", To: "db"}, api.VerdictFails, []string{"add it to networking.outbound"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := inspect.Explain(m, c.call, online)
			if err != nil {
				t.Fatal(err)
			}
			text := string(asJSON(t, e))
			if e.Verdict != c.verdict {
				t.Errorf("verdict %s, want %s: %s", e.Verdict, c.verdict, text)
			}
			for _, w := range c.words {
				if !strings.Contains(text, w) {
					t.Errorf("%s lacks %s", text, w)
				}
			}
			for _, w := range c.never {
				if strings.Contains(text, w) {
					t.Errorf("%s has %s", text, w)
				}
			}
		})
	}
}

func TestExplainNobody(t *testing.T) {
	m := stateOf(t, shop).Mesh("default")
	for _, c := range []struct{ from, to, want string }{
		{"wbe", "api", `from: mesh default has no service and no dataplane "wbe"; did you mean "web"?`},
		{"web", "databases-of-others", `its services are api, db, stats, web`},
		{"web", "kuma.io/service=api,version=v9", `to: no dataplane of mesh default has {kuma.io/service=api, version=v9}`},
		{"web", "version=v2", `to: names no service: add the tag kuma.io/service`},
		{"web", "version", `to: mesh default has no service`},
		{"=", "", `from: "=" is not a tag: write key=value; to: must be a service`},
	} {
		_, err := inspect.Explain(m, inspect.Call{From: c.from, To: c.to}, online)
		if !errors.Is(err, mesh.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s -> %s: %v, want %s", c.from, c.to, err, c.want)
		}
	}
}

// placed prints what acts where, a line each.
func placed(d *api.DataplanePolicies) (lines []string) {
	for _, item := range d.Items {
		line := item.Type + " " + item.Name + ":"
		var kinds []string
		for k := range item.Policies {
			kinds = append(kinds, k)
		}
		slices.Sort(kinds)
		for _, k := range kinds {
			for _, r := range item.Policies[k] {
				line += " " + k + "/" + r.Name
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func TestPolicies(t *testing.T) {
	m := stateOf(t, shop).Mesh("default")
	for name, want := range map[string][]string{
		"web-2": {"outbound 127.0.0.1:10080: Timeout/quick TrafficRoute/cart", "service api: Retry/again"},
		"api-1": {"inbound 192.0.2.2:80:8080: RateLimit/slow TrafficPermission/web-to-api"},
		"db-1":  nil,
	} {
		got, err := inspect.Policies(m, name)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, placed(got)); d != "" || got.Total != len(want) {
			t.Errorf("%s (-want +got), total %d:\n%s", name, got.Total, d)
		}
	}
	if _, err := inspect.Policies(m, "absent"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of one that there is not: %v", err)
	}
}

func TestAttached(t *testing.T) {
	m := stateOf(t, shop).Mesh("default")
	for origin, want := range map[proxy.Origin]string{
		{Kind: "Timeout", Name: "quick"}:                "web-1 outbound 127.0.0.1:10080 api; web-2 outbound 127.0.0.1:10080 api; ",
		{Kind: "TrafficPermission", Name: "web-to-api"}: "api-1 inbound 192.0.2.2:80:8080 api; api-2 inbound 192.0.2.3:80:8080 api; ",
		{Kind: "Timeout", Name: "absent"}:               "",
	} {
		found, err := inspect.Attached(t.Context(), m, origin)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, d := range found {
			for _, a := range d.Attachments {
				got += fmt.Sprintf("%s %s %s %s; ", d.Dataplane.Name, a.Type, a.Name, a.Service)
			}
		}
		if got != want {
			t.Errorf("%s acts on %q, want %q", origin, got, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := inspect.Attached(ctx, m, proxy.Origin{Kind: "Timeout", Name: "quick"}); !errors.Is(err, context.Canceled) {
		t.Errorf("after its end: %v", err)
	}
}

func TestServices(t *testing.T) {
	m := stateOf(t, shop+`
---
type: Dataplane
mesh: default
name: gw-1
networking: {address: 192.0.2.9, gateway: {tags: {kuma.io/service: gw, kuma.io/zone: east}}}
---
type: ExternalService
mesh: default
name: bank
tags: {kuma.io/service: bank}
networking: {address: bank.example:443}
`).Mesh("default")
	known := func(_, name string) (in mesh.DataplaneInsight) {
		if online("", name) {
			version := &mesh.ProxyVersion{KumaDP: &mesh.ProgramVersion{Version: "1.0"}, Envoy: &mesh.ProgramVersion{Version: "1.40.0"}}
			in.Subscriptions = []mesh.Subscription{{Version: version}}
			in.MTLS = &mesh.DataplaneMTLS{IssuedBackend: "ca-1", SupportedBackends: []string{"ca-1", "ca-2"}}
		}
		return in
	}
	var got []string
	for _, r := range inspect.Services(m, online, known) {
		in := r.Spec.(*mesh.ServiceInsight)
		got = append(got, fmt.Sprintf("%s %s %d/%d %s %s %v %v", r.Meta.Name, in.Status, in.Dataplanes.Online, in.Dataplanes.Total, in.ServiceType, in.AddressPort, in.Zones, in.IssuedBackends))
	}
	want := []string{
		"api partially_degraded 1/2  api.mesh:80 [] map[ca-1:1]",
		"bank not_available 0/0 external bank.mesh:80 [] map[]",
		"db online 1/1  db.mesh:80 [] map[ca-1:1]",
		"gw online 1/1 gateway_delegated  [east] map[ca-1:1]",
		"stats offline 0/1  stats.mesh:80 [] map[ca-1:1]",
		"web partially_degraded 1/2  web.mesh:80 [] map[ca-1:1]",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("services (-want +got):\n%s", d)
	}
	in := inspect.Mesh(m, online, known)
	text := string(asJSON(t, in))
	for _, w := range []string{
		`"dataplanes":{"total":6,"online":3,"offline":2,"partiallyDegraded":1}`, `"gatewayDelegated":{"total":1,"online":1}`,
		`"unknown":{"total":2,"offline":2}`, `"1.40.0":{"total":4,"online":3,"partiallyDegraded":1}`, `"services":{"total":6,"internal":5,"external":1}`,
		`"issuedBackends":{"ca-1":{"total":4,"online":3,"partiallyDegraded":1}}`, `"ca-2":{"total":4,`,
		`"TrafficRoute":{"total":2}`, `"Dataplane":{"total":6}`,
	} {
		if !strings.Contains(text, w) {
			t.Errorf("%s lacks %s", text, w)
		}
	}
}

func TestCompare(t *testing.T) {
	now := stateOf(t, shop)
	for _, c := range []struct {
		name, put    string
		deleted      []mesh.Key
		proxies      string // of each group
		words, never []string
	}{
		{
			"a timeout", "type: Timeout\nmesh: default\nname: quick\nsources: [{match: {kuma.io/service: web}}]\ndestinations: [{match: {kuma.io/service: api}}]\nconf: {connectTimeout: 3s, http: {requestTimeout: 8s}}\n", nil,
			"web-1 web-2", []string{"-      request: 7s", "+      request: 8s"}, []string{"api-1"},
		},
		{"a permission goes", "", []mesh.Key{{Kind: "TrafficPermission", Mesh: "default", Name: "web-to-api"}}, "api-1|api-2", []string{"-      policy: web-to-api"}, []string{"web-1"}},
		{
			"a dataplane comes", "type: Dataplane\nmesh: default\nname: api-3\nnetworking: {address: 192.0.2.30, inbound: [{port: 80, tags: {kuma.io/service: api, kuma.io/protocol: http}}]}\n", nil,
			"api-3", []string{"endpoints of service api", "+  - address: 192.0.2.30:80"}, []string{"web-1"},
		},
		{"nothing that anybody reads", "type: Secret\nmesh: default\nname: s\ndata: YQ==\n", nil, "", nil, nil},
		{"the mesh", "type: Mesh\nname: default\n", nil, "api-1|api-2|db-1|web-1|web-2", []string{"-      mode: strict"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var changes []store.Change
			if c.put != "" {
				changes = changesOf(t, c.put)
			}
			for _, k := range c.deleted {
				changes = append(changes, store.Change{Key: k})
			}
			d, err := inspect.Compare(t.Context(), now, changes)
			if err != nil {
				t.Fatal(err)
			}
			var groups []string
			for _, p := range d.Proxies {
				groups = append(groups, strings.Join(p.Proxies, " "))
			}
			if got := strings.Join(groups, "|"); got != c.proxies {
				t.Errorf("plans of %s change, want %s", got, c.proxies)
			}
			text := fmt.Sprintf("%+v", *d)
			for _, w := range c.words {
				if !strings.Contains(text, w) {
					t.Errorf("%s\nlacks %q", text, w)
				}
			}
			for _, w := range c.never {
				if strings.Contains(text, w) {
					t.Errorf("%s\nhas %q", text, w)
				}
			}
		})
	}
}

// TestCompareIsBounded: a change of everything, in a mesh that is large.
func TestCompareIsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("type: Mesh\nname: default\n")
	for i := range 60 {
		fmt.Fprintf(&b, "---\ntype: Dataplane\nmesh: default\nname: d-%02d\nnetworking: {address: 192.0.2.%d, inbound: [{port: 80, tags: {kuma.io/service: s-%02d}}]}\n", i, i+1, i)
	}
	now := stateOf(t, b.String())
	d, err := inspect.Compare(t.Context(), now, changesOf(t, "type: Mesh\nname: default\nmtls: {enabledBackend: b, backends: [{name: b, type: builtin}]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, p := range d.Proxies {
		if p.Diff != "" {
			shown++
		}
	}
	if len(d.Proxies) != 60 || shown != 20 || d.Looked != 60 || d.Of != 60 {
		t.Errorf("%d groups, %d shown, looked at %d of %d", len(d.Proxies), shown, d.Looked, d.Of)
	}
}

func TestLayout(t *testing.T) {
	m := stateOf(t, shop).Mesh("default")
	l, err := inspect.Layout(m, "web-2")
	if err != nil {
		t.Fatal(err)
	}
	want := `"inbounds":[{"kri":"kri_dp_default___web-2_80","port":80,"protocol":"http","proxyResourceName":"inbound:192.0.2.4:80"}],"listeners":[],` +
		`"outbounds":[{"kri":"","port":10080,"protocol":"http","proxyResourceName":"outbound:127.0.0.1:10080"}],"spiffeId":"spiffe://default/web"`
	if got := string(asJSON(t, l)); !strings.Contains(got, want) {
		t.Errorf("layout %s\nlacks %s", got, want)
	}
}

func asJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestNoMapHoldsOrigins: origins are looked for in fields and lists alone.
func TestNoMapHoldsOrigins(t *testing.T) {
	origin := reflect.TypeFor[proxy.Origin]()
	seen := map[reflect.Type]bool{}
	var in func(reflect.Type) bool
	in = func(typ reflect.Type) bool {
		if typ == origin || seen[typ] {
			return typ == origin
		}
		seen[typ] = true
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice:
			return in(typ.Elem())
		case reflect.Map:
			if in(typ.Elem()) {
				t.Errorf("%s holds origins, and is not looked into", typ)
			}
		case reflect.Struct:
			found := false
			for i := range typ.NumField() {
				found = in(typ.Field(i).Type) || found
			}
			return found
		default:
		}
		return false
	}
	if !in(reflect.TypeFor[proxy.Config]()) {
		t.Error("a plan has no origins")
	}
}
