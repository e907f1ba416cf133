package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/inspect"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

const (
	cannotInspect = "Could not inspect a dataplane"
	cannotAdmin   = "Could not execute admin operation"
	seeDataplanes = "inspect dataplanes"
)

// inspectRoutes tell what became of dataplanes and of policies.
func (s *Server) inspectRoutes() []route {
	const dataplane = "/meshes/{mesh}/dataplanes/{name}"
	get := func(path, failed string, serve func(call) (answer, error)) route {
		return route{"GET " + path, Inspect, seeDataplanes, failed, serve}
	}
	all := []route{
		get(dataplane+"/policies", cannotInspect, s.dataplanePolicies),
		get(dataplane+"/_layout", cannotInspect, s.layout),
		get(dataplane+"/_config", cannotInspect, s.sentConfig),
		get(dataplane+"/rules", cannotInspect, s.ofDataplane(noRules)),
		get(dataplane+"/_rules", cannotInspect, s.ofDataplane(noRules2)),
		get("/meshes/{mesh}/meshgateways/{name}/_rules", cannotInspect, s.ofStored(mesh.MeshGatewayKind, noRules2)),
		get("/meshes/{mesh}/_explain", "Could not explain a call", s.explain),
		{"POST /_weft/diff", Inspect, "see what a change would bring", "Could not tell what would change", s.diff},
		{"POST /meshes/{mesh}/_diff", Inspect, "see what a change would bring", "Could not tell what would change", s.diff},
	}
	// What holds only where services are MeshServices alone.
	for _, path := range []string{
		"/_policies", "/_inbounds/{kri}/_policies", "/_outbounds/{kri}/_policies", "/_outbounds/{kri}/_routes", "/_outbounds/{kri}/_routes/{route}/_policies",
	} {
		all = append(all, get(dataplane+path, cannotInspect, s.ofDataplane(notExclusive)))
	}
	all = append(all, s.viewRoutes(append([]string{dataplane}, zoneProxies()...))...)
	for _, k := range mesh.Kinds {
		for _, path := range append([]string{k.Path}, k.Aliases...) {
			all = append(all, s.affectedRoutes(k, "/meshes/{mesh}/"+path+"/{name}")...)
		}
	}
	return all
}

// zoneProxies are the items of proxies between zones.
func zoneProxies() (items []string) {
	for _, k := range []*mesh.Kind{mesh.ZoneIngressKind, mesh.ZoneEgressKind} {
		for _, path := range append([]string{k.Path}, k.Aliases...) {
			items = append(items, "/"+path+"/{name}")
		}
	}
	return items
}

// affectedRoutes tell which dataplanes a resource acts on. With a hyphen the
// path is as kumactl misspells it.
func (s *Server) affectedRoutes(k *mesh.Kind, item string) []route {
	get := func(path string, serve func(call) (answer, error)) route {
		return route{"GET " + item + path, Inspect, seeDataplanes, cannotInspect, serve}
	}
	affected := []route{
		get("/_resources/dataplanes", s.affected(k)),
		get("/-resources/dataplanes", s.affected(k)),
	}
	switch {
	case k.Policy != nil, k == mesh.MeshGatewayKind, k == mesh.MeshGatewayRouteKind:
		return append(affected, get("/dataplanes", s.attached(k)))
	case k == mesh.MeshServiceKind:
		return append(affected, get("/_dataplanes", s.affected(k)), get("/_hostnames", s.ofStored(k, noHostnames)))
	case k == mesh.MeshExternalServiceKind, k == mesh.MeshMultiZoneServiceKind:
		return append(affected, get("/_hostnames", s.ofStored(k, noHostnames)))
	default:
		return nil
	}
}

// ofDataplane answers about a dataplane that is there.
func (s *Server) ofDataplane(serve func(mesh.Resource) (answer, error)) func(call) (answer, error) {
	return s.ofStored(mesh.DataplaneKind, serve)
}

func (s *Server) ofStored(k *mesh.Kind, serve func(mesh.Resource) (answer, error)) func(call) (answer, error) {
	return func(c call) (answer, error) {
		key, err := s.keyOf(c, k)
		if err != nil {
			return answer{}, err
		}
		r, err := s.Store.Get(c.Context(), key)
		if err != nil {
			return answer{}, err
		}
		return serve(r)
	}
}

func (s *Server) dataplanePolicies(c call) (answer, error) {
	m, err := s.meshOf(c)
	if err != nil {
		return answer{}, err
	}
	doc, err := inspect.Policies(m, c.PathValue("name"))
	if err != nil {
		return answer{}, err
	}
	return asJSON(http.StatusOK, doc)
}

func (s *Server) layout(c call) (answer, error) {
	m, err := s.meshOf(c)
	if err != nil {
		return answer{}, err
	}
	doc, err := inspect.Layout(m, c.PathValue("name"))
	if err != nil {
		return answer{}, err
	}
	return asJSON(http.StatusOK, doc)
}

// sentConfig answers with what the proxy of a dataplane is told. No policy is
// in shadow here, so what it would be told with those is the same.
func (s *Server) sentConfig(c call) (answer, error) {
	values := c.URL.Query()
	if v := values.Get("shadow"); !slices.Contains([]string{"", "true", "false"}, v) {
		return answer{}, wrong(errQuery, "shadow", "must be true or false, is %.32q", v)
	}
	if v := values.Get("include"); v != "" && v != "diff" {
		return answer{}, wrong(errQuery, "include", "must be diff, is %.32q", v)
	}
	text, err := s.Stage(c.Context(), c.PathValue("mesh"), c.PathValue("name"), "render")
	if err != nil {
		return answer{}, err
	}
	xds, err := yaml.YAMLToJSON(text)
	if err != nil {
		return answer{}, fmt.Errorf("read what is rendered: %w", err)
	}
	doc := map[string]any{"xds": json.RawMessage(xds)}
	if values.Get("include") == "diff" {
		doc["diff"] = []any{}
	}
	return asJSON(http.StatusOK, doc)
}

// No policy with a targetRef acts yet, so none makes a rule.

func noRules(mesh.Resource) (answer, error) {
	return asJSON(http.StatusOK, map[string]any{"total": 0, "items": []any{}})
}

func noRules2(r mesh.Resource) (answer, error) {
	return asJSON(http.StatusOK, map[string]any{"resource": api.MetaOf(r), "rules": []any{}, "httpMatches": []any{}})
}

func noHostnames(mesh.Resource) (answer, error) {
	return asJSON(http.StatusOK, map[string]any{"total": 0, "items": []any{}})
}

func notExclusive(mesh.Resource) (answer, error) {
	return answer{}, wrong(errQuery, "meshServices.mode", "must be Exclusive for this view, and services are found by the tag kuma.io/service alone yet; "+
		"the policies of a dataplane are at its /policies, what becomes of a call at /meshes/MESH/_explain")
}

// inspecting is how long plans are made for one answer.
const inspecting = 20 * time.Second

// attachments finds where the policy of a URL acts.
func (s *Server) attachments(c call, k *mesh.Kind) ([]api.PolicyDataplane, error) {
	key, err := s.keyOf(c, k)
	if err != nil {
		return nil, err
	}
	if _, err := s.Store.Get(c.Context(), key); err != nil {
		return nil, err
	}
	m, err := s.meshOf(c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(c.Context(), inspecting)
	defer cancel()
	return inspect.Attached(ctx, m, proxy.Origin{Kind: key.Kind, Name: key.Name})
}

func (s *Server) attached(k *mesh.Kind) func(call) (answer, error) {
	return func(c call) (answer, error) {
		items, err := s.attachments(c, k)
		if err != nil {
			return answer{}, err
		}
		return asJSON(http.StatusOK, map[string]any{"total": len(items), "items": items})
	}
}

func (s *Server) affected(k *mesh.Kind) func(call) (answer, error) {
	return func(c call) (answer, error) {
		values := c.URL.Query()
		q, err := query(values)
		if err != nil {
			return answer{}, err
		}
		all, err := s.attachments(c, k)
		if err != nil {
			return answer{}, err
		}
		all = slices.DeleteFunc(all, func(d api.PolicyDataplane) bool { return !strings.Contains(d.Dataplane.Name, q.Name) })
		part, next := cutPage(c.Request, values, all, q)
		docs := make([]json.RawMessage, 0, len(part))
		for _, d := range part {
			r, err := s.Store.Get(c.Context(), mesh.Key{Kind: mesh.DataplaneKind.Name, Mesh: d.Dataplane.Mesh, Name: d.Dataplane.Name})
			if err != nil {
				return answer{}, err
			}
			doc, err := json.Marshal(api.MetaOf(r))
			if err != nil {
				return answer{}, err
			}
			docs = append(docs, doc)
		}
		return asJSON(http.StatusOK, api.NewPage(len(all), docs, next))
	}
}

// explain tells what becomes of a call.
func (s *Server) explain(c call) (answer, error) {
	m, err := s.meshOf(c)
	if err != nil {
		return answer{}, err
	}
	values := c.URL.Query()
	asked := inspect.Call{From: values.Get("from"), To: values.Get("to"), Method: values.Get("method"), Path: values.Get("path"), Headers: map[string]string{}}
	for _, h := range values["header"] {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return answer{}, wrong(errQuery, "header", "must be name:value, is %.64q", h)
		}
		asked.Headers[strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(value)
	}
	doc, err := inspect.Explain(m, asked, s.Online)
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", errQuery, err)
	}
	return asJSON(http.StatusOK, doc)
}

// differing is how long plans are compared for one answer.
const differing = 20 * time.Second

// compare tells what changes would bring, beside what became of the resources.
func (s *Server) compare(ctx context.Context, changes []store.Change, resources []api.ResourceChange) (*api.Difference, error) {
	state, err := s.State(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, differing)
	defer cancel()
	doc, err := inspect.Compare(ctx, state, changes)
	if err != nil {
		return nil, err
	}
	doc.Resources = resources
	return doc, nil
}

// maxDocuments are read of one body: each is compared with what is stored.
const maxDocuments = 1000

// diff tells what would change if a client put every document that it sends.
// Where the URL names a mesh, all of them have to be in that.
func (s *Server) diff(c call) (answer, error) {
	if err := s.checkMesh(c.Context(), c.PathValue("mesh")); err != nil {
		return answer{}, err
	}
	data, err := body(c)
	if err != nil {
		return answer{}, err
	}
	var wanted []mesh.Resource
	meshes := map[string]bool{}
	for d := range api.Documents(data) {
		switch in := c.PathValue("mesh"); {
		case d.Err != nil:
			return answer{}, d.Err
		case len(wanted) == maxDocuments:
			return answer{}, &api.SyntaxError{Text: fmt.Sprintf("there are more than %d documents in the body: ask about some at a time", maxDocuments)}
		case in != "" && d.Resource.Meta.Mesh != in:
			return answer{}, fmt.Errorf("document %d: %w", d.Index, wrong(mesh.ErrInvalid, "mesh", "must be %q, as in the URL", in))
		case d.Resource.Kind == mesh.MeshKind:
			meshes[d.Resource.Meta.Name] = true
		}
		wanted = append(wanted, d.Resource)
	}
	if len(wanted) == 0 {
		return answer{}, &api.SyntaxError{Text: "there is no document in the body"}
	}
	var changes []store.Change
	var resources []api.ResourceChange
	for _, r := range wanted {
		change, told := s.preview(c, r, meshes)
		if change != nil {
			changes = append(changes, *change)
		}
		resources = append(resources, told)
	}
	doc, err := s.compare(c.Context(), changes, resources)
	if err != nil {
		return answer{}, err
	}
	return asJSON(http.StatusOK, doc)
}
