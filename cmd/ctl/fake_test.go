package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// A fakePlane is a control plane as far as its clients can tell. It knows one
// API token, "good", and needs none when open.
type fakePlane struct {
	open bool

	mu     sync.Mutex
	stored map[mesh.Key]mesh.Resource
	writes []string // every request that could change something
}

func newFakePlane(open bool) *fakePlane {
	p := &fakePlane{open: open, stored: map[mesh.Key]mesh.Resource{}}
	p.store(mesh.Resource{Kind: mesh.MeshKind, Meta: mesh.Meta{Name: "default"}, Spec: &mesh.MeshSpec{}})
	return p
}

// String prints what is stored and what was asked to change.
func (p *fakePlane) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lines []string
	for key := range p.stored {
		lines = append(lines, key.String())
	}
	slices.Sort(lines)
	return strings.Join(append(lines, p.writes...), "\n") + "\n"
}

func (p *fakePlane) store(r mesh.Resource) bool {
	old, there := p.stored[r.Key()]
	r.Meta.Created = time.Now().Add(-3 * time.Hour)
	if there {
		r.Meta.Created = old.Meta.Created
	}
	r.Meta.Modified = time.Now()
	if r.Kind.Scope == mesh.InMesh {
		labels := map[string]string{"kuma.io/mesh": r.Meta.Mesh}
		for k, v := range r.Meta.Labels {
			labels[k] = v
		}
		r.Meta.Labels = labels
	}
	p.stored[r.Key()] = r
	return !there
}

func (p *fakePlane) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Method != http.MethodGet && !strings.HasSuffix(r.URL.Path, "diff") {
		p.writes = append(p.writes, r.Method+" "+r.URL.Path)
	}
	if !p.open && r.Header.Get("Authorization") != "Bearer good" {
		fail(w, 401, "Invalid authentication data", "no token, or one that is not known", nil)
		return
	}
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.URL.Path == "/":
		answer(w, 200, api.Info{Product: "Kuma", Version: "2.14.3", WeftVersion: "1.2.3"})
	case r.URL.Path == "/_weft/hosts":
		answer(w, 200, api.Hosts{Addresses: []string{"192.0.2.1:5678"}, Authority: strings.Repeat("ab", 32)})
	case r.URL.Path == "/status/zones":
		answer(w, 200, []map[string]any{{"name": "default", "active": true}, {"name": "far", "active": false}})
	case r.URL.Path == "/tokens/dataplane":
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "jwt of %s", body)
	case r.URL.Path == "/_weft/diff", len(path) == 3 && path[2] == "_diff" && path[1] == "default":
		p.diff(w, r)
	case path[0] == "meshes" && len(path) == 3 && path[2] == "_explain":
		p.explain(w, r, path[1])
	case path[0] == "meshes" && len(path) == 6 && path[4] == "_stages":
		p.stage(w, mesh.Key{Kind: "Dataplane", Mesh: path[1], Name: path[3]}, path[5])
	case path[0] == "meshes" && len(path) > 2:
		p.inMesh(w, r, path[1], path[2:])
	default:
		p.resources(w, r, "", path)
	}
}

func (p *fakePlane) inMesh(w http.ResponseWriter, r *http.Request, name string, path []string) {
	if _, ok := p.stored[mesh.Key{Kind: "Mesh", Name: name}]; !ok {
		fail(w, 404, "Failed to retrieve Mesh", "Not found", nil)
		return
	}
	p.resources(w, r, name, path)
}

func (p *fakePlane) resources(w http.ResponseWriter, r *http.Request, meshName string, path []string) {
	k, ok := mesh.KindByPath(path[0])
	if !ok {
		http.NotFound(w, r)
		return
	}
	switch {
	case len(path) > 2 && p.inspect(w, path[1], path[2]):
		return
	case k == mesh.MeshInsightKind:
		p.insights(w, mesh.Meta{Name: "default"}, k, &mesh.MeshInsight{
			Dataplanes: mesh.DataplaneCount{Total: 3, Online: 2}, Resources: map[string]mesh.Total{"TrafficPermission": {Total: 7}, "ExternalService": {Total: 4}},
		})
		return
	case k == mesh.ServiceInsightKind:
		p.insights(w, mesh.Meta{Mesh: meshName, Name: "web"}, k, &mesh.ServiceInsight{
			Status: mesh.PartiallyDegraded, Dataplanes: mesh.OnlineTotal{Total: 5, Online: 4},
		})
		return
	}
	if len(path) == 1 || path[1] == "_overview" {
		p.list(w, k, meshName, len(path) > 1)
		return
	}
	key := mesh.Key{Kind: k.Name, Mesh: meshName, Name: path[1]}
	old, there := p.stored[key]
	switch {
	case r.Method == http.MethodPut:
		p.put(w, r, k)
	case !there:
		fail(w, 404, "Could not retrieve a resource", "Not found", nil)
	case r.Method == http.MethodDelete:
		delete(p.stored, key)
		answer(w, 200, struct{}{})
	default:
		b, _ := api.Encode(old)
		answer(w, 200, json.RawMessage(b))
	}
}

func (p *fakePlane) list(w http.ResponseWriter, k *mesh.Kind, meshName string, overview bool) {
	items := map[string]json.RawMessage{}
	var names []string
	for key, r := range p.stored {
		if key.Kind != k.Name || meshName != "" && key.Mesh != meshName {
			continue
		}
		switch {
		case !overview:
			items[key.Name], _ = api.Encode(r)
		case k == mesh.DataplaneKind:
			items[key.Name], _ = api.EncodeOverview(r, webInsight())
		default:
			items[key.Name], _ = api.EncodeZoneOverview(r, k.Singular)
		}
		names = append(names, key.Name)
	}
	slices.Sort(names)
	var sorted []json.RawMessage
	for _, n := range names {
		sorted = append(sorted, items[n])
	}
	answer(w, 200, api.NewPage(len(sorted), sorted, ""))
}

// webInsight is how every proxy fares.
func webInsight() api.DataplaneInsight {
	return api.DataplaneInsight{
		Subscriptions: []api.Subscription{{ID: "1", ConnectTime: time.Now().Add(-3 * time.Hour)}},
		Weft:          &api.Findings{Warnings: []api.Finding{{Part: "outbound api", Text: "no such service"}}},
	}
}

// insights answers a list of one.
func (p *fakePlane) insights(w http.ResponseWriter, meta mesh.Meta, k *mesh.Kind, spec mesh.Spec) {
	doc, _ := api.Encode(mesh.Resource{Kind: k, Meta: meta, Spec: spec})
	answer(w, 200, api.NewPage(1, []json.RawMessage{doc}, ""))
}

// inspect answers what is told of resources, always the same.
func (p *fakePlane) inspect(w http.ResponseWriter, name, what string) bool {
	switch what {
	case "_resources":
		var items []json.RawMessage
		for i := range 12 {
			items = append(items, json.RawMessage(fmt.Sprintf(`{"type":"Dataplane","name":"web-%d"}`, i)))
		}
		answer(w, 200, api.NewPage(len(items), items, ""))
	case "_overview":
		answer(w, 200, map[string]any{"name": name, "dataplaneInsight": webInsight()})
	default:
		return false
	}
	return true
}

func (p *fakePlane) put(w http.ResponseWriter, r *http.Request, k *mesh.Kind) {
	body, _ := io.ReadAll(r.Body)
	res, err := api.DecodeAs(k, body)
	if err != nil {
		fail(w, 400, "Bad Request", err.Error(), nil)
		return
	}
	var result api.PutResult
	switch res.Meta.Name {
	case "denied":
		fail(w, 403, "Access Denied", "joe may not", nil)
		return
	case "refused":
		fail(w, 400, "Could not process a resource", "Resource is not valid", mesh.Violations{{Field: "sources", Reason: "is not to the server's taste"}})
		return
	case "old":
		result.Warnings = []string{"the name is old-fashioned"}
	}
	status := 200
	if p.store(res) {
		status = 201
	}
	answer(w, status, result)
}

func (p *fakePlane) stage(w http.ResponseWriter, key mesh.Key, stage string) {
	if _, ok := p.stored[key]; !ok {
		fail(w, 404, "Could not retrieve a resource", "Not found", nil)
		return
	}
	w.Header().Set("Content-Type", "text/yaml")
	fmt.Fprintf(w, "stage: %s\nname: %s\n", stage, key.Name)
}

// diff says of a dataplane that its own plan changes.
func (p *fakePlane) diff(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	d := api.Difference{Looked: 2, Of: 3}
	for doc := range api.Documents(body) {
		key, change := doc.Resource.Key(), api.ResourceChange{Type: doc.Resource.Kind.Name, Mesh: doc.Resource.Meta.Mesh, Name: doc.Resource.Meta.Name, Change: api.ChangeCreated, Diff: "+port: 80\n"}
		if _, ok := p.stored[key]; ok {
			change.Change = api.ChangeUpdated
		}
		if key.Name == "refused" {
			change.Change, change.Diff = api.ChangeRefused, ""
			change.Error = api.NewError(400, "Could not process a resource", "Resource is not valid", mesh.Violations{{Field: "sources", Reason: "is not to the server's taste"}})
		}
		if strings.HasPrefix(key.Name, "new-") {
			change.Warnings = []string{"its mesh is new, too"}
		}
		d.Resources = append(d.Resources, change)
		if key.Kind == mesh.DataplaneKind.Name {
			d.Proxies = append(d.Proxies, api.ProxyChange{Mesh: key.Mesh, Proxies: []string{key.Name}, More: 1, Diff: "+inbounds: 1\n", Cut: 7})
			d.Shared = append(d.Shared, api.SharedChange{Mesh: key.Mesh, What: "endpoints of service web", Diff: "+members: 1\n"})
		}
	}
	answer(w, 200, d)
}

// explain knows one call, from web to api.
func (p *fakePlane) explain(w http.ResponseWriter, r *http.Request, in string) {
	q := r.URL.Query()
	if q.Get("from") != "web" || q.Get("to") != "api" {
		fail(w, 400, "Could not explain a call", "Invalid query parameter", mesh.Violations{{Field: "from", Reason: `mesh default has no service and no dataplane "wbe"; did you mean "web"?`}})
		return
	}
	answer(w, 200, api.Explanation{
		Mesh: in, From: api.Party{Asked: "web", Dataplane: "web-1", Others: 2}, To: api.Party{Asked: "api"}, Verdict: api.VerdictAllowed,
		Why:       []string{`TrafficPermission "p" decides`},
		Outbound:  &api.ExplainedOutbound{Name: "api", Listen: []string{"127.0.0.1:80"}, Protocol: "http"},
		Route:     &api.ExplainedRoute{From: `TrafficRoute "r"`, Rule: 0, Of: 2, Match: fmt.Sprintf("path is %q", q.Get("path")), To: []api.RouteDestination{{Cluster: "api-5b55", Service: "api", Tags: map[string]string{"version": "v2"}, Percent: 100}}},
		Effects:   []api.Effect{{Where: "caller", What: "timeouts", From: `Timeout "t"`, Values: json.RawMessage(`{"request":"7s"}`)}, {Where: "caller", What: "retry", Values: json.RawMessage(`{}`)}, {Where: "cluster api-5b55", What: "outlier", Values: json.RawMessage(`{}`)}},
		Endpoints: []api.ExplainedEndpoint{{Cluster: "api-5b55", Address: "192.0.2.2:80", Dataplane: "api-1", Allowed: true}}, MoreEndpoints: 3,
		Warnings: []api.Finding{{Part: "p", Text: "is odd"}},
	})
}

func answer(w http.ResponseWriter, status int, doc any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(doc)
}

func fail(w http.ResponseWriter, status int, title, detail string, v mesh.Violations) {
	answer(w, status, api.NewError(status, title, detail, v))
}
