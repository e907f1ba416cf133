package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/inspect"
	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

const (
	cannotTell = "Could not tell how it fares"
	seeHow     = "see how things fare"
)

// insightRoutes are what is told of how things fare: nothing of it is stored.
func (s *Server) insightRoutes() []route {
	get := func(path, failed string, serve func(call) (answer, error)) route {
		return route{"GET " + path, ReadResources, seeHow, failed, serve}
	}
	all := []route{
		get("/global-insight", cannotTell, s.globalInsight),
		get("/global-insights", cannotTell, s.globalInsights),
		get("/mesh-insights", cannotList, s.computed(s.meshInsights)),
		get("/mesh-insights/{name}", cannotGet, s.meshInsight),
		get("/service-insights", cannotList, s.computed(s.serviceInsights)),
		get("/meshes/{mesh}/service-insights", cannotList, s.computed(s.serviceInsights)),
		get("/meshes/{mesh}/service-insights/{name}", cannotGet, s.serviceInsight),
		get("/dataplane-insights", cannotList, s.list(mesh.DataplaneKind, s.knownInsight, s.connected)),
		get("/meshes/{mesh}/dataplane-insights", cannotList, s.list(mesh.DataplaneKind, s.knownInsight, s.connected)),
		get("/meshes/{mesh}/dataplane-insights/{name}", cannotGet, s.get(mesh.DataplaneKind, s.insight)),
	}
	// Zones do not join yet, so nothing of them is connected.
	for _, k := range []*mesh.Kind{mesh.ZoneInsightKind, mesh.ZoneIngressInsightKind, mesh.ZoneEgressInsightKind} {
		all = append(all,
			get("/"+k.Path, cannotList, s.computed(nothing)),
			get("/"+k.Path+"/{name}", cannotGet, func(call) (answer, error) { return answer{}, store.ErrNotFound }),
		)
	}
	return all
}

func nothing(call) ([]mesh.Resource, error) { return nil, nil }

// computed serves pages of a list that is made anew for each of them.
func (s *Server) computed(compute func(call) ([]mesh.Resource, error)) func(call) (answer, error) {
	return func(c call) (answer, error) {
		values := c.URL.Query()
		q, err := query(values)
		if err != nil {
			return answer{}, err
		}
		if err := s.checkMesh(c.Context(), c.PathValue("mesh")); err != nil {
			return answer{}, err
		}
		all, err := compute(c)
		if err != nil {
			return answer{}, err
		}
		all = slices.DeleteFunc(all, func(r mesh.Resource) bool { return !strings.Contains(r.Meta.Name, q.Name) })
		items, next := cutPage(c.Request, values, all, q)
		docs, err := each(c.Context(), items, asItIs)
		if err != nil {
			return answer{}, err
		}
		return asJSON(http.StatusOK, api.NewPage(len(all), docs, next))
	}
}

// cutPage returns the part of all that q asks for, and where the next one is.
func cutPage[T any](r *http.Request, values map[string][]string, all []T, q store.Query) (part []T, next string) {
	part = all[min(q.Offset, len(all)):min(q.Offset+q.Size, len(all))]
	if end := q.Offset + len(part); len(part) > 0 && end < len(all) {
		next = nextURL(r, values, end)
	}
	return part, next
}

func each(ctx context.Context, rs []mesh.Resource, write writing) ([]json.RawMessage, error) {
	docs := make([]json.RawMessage, len(rs))
	for i, r := range rs {
		var err error
		if docs[i], err = write(ctx, r); err != nil {
			return nil, err
		}
	}
	return docs, nil
}

// meshesOf returns what is seen of the mesh of a URL, or of all meshes.
func (s *Server) meshesOf(c call) (ms []*snapshot.Mesh, err error) {
	state, err := s.State(c.Context())
	if err != nil {
		return nil, err
	}
	for _, name := range state.Meshes() {
		if in := c.PathValue("mesh"); in == "" || in == name {
			ms = append(ms, state.Mesh(name))
		}
	}
	return ms, nil
}

// meshOf returns what is seen of the mesh of a URL. It fails with
// admission.ErrNoMesh.
func (s *Server) meshOf(c call) (*snapshot.Mesh, error) {
	if err := s.checkMesh(c.Context(), c.PathValue("mesh")); err != nil {
		return nil, err
	}
	ms, err := s.meshesOf(c)
	if err == nil && len(ms) == 0 {
		err = fmt.Errorf("mesh %q is not seen yet: %w", c.PathValue("mesh"), context.DeadlineExceeded)
	}
	if err != nil {
		return nil, err
	}
	return ms[0], nil
}

func (s *Server) serviceInsights(c call) (all []mesh.Resource, err error) {
	ms, err := s.meshesOf(c)
	if err != nil {
		return nil, err
	}
	types := c.URL.Query().Get("type")
	for _, m := range ms {
		for _, r := range inspect.Services(m, s.Online, s.KnownInsight) {
			if types == "" || slices.Contains(strings.Split(types, ","), typeOf(r)) {
				all = append(all, r)
			}
		}
	}
	return all, nil
}

// typeOf is what a service is asked for as.
func typeOf(r mesh.Resource) string {
	if t := r.Spec.(*mesh.ServiceInsight).ServiceType; t != "" {
		return t
	}
	return inspect.Internal
}

// serviceInsight answers for services that there are not, too.
func (s *Server) serviceInsight(c call) (answer, error) {
	m, err := s.meshOf(c)
	if err != nil {
		return answer{}, err
	}
	in, err := s.Store.Get(c.Context(), mesh.Key{Kind: mesh.MeshKind.Name, Name: m.Name()})
	if err != nil {
		return answer{}, err
	}
	name := c.PathValue("name")
	r := inspect.UnknownService(m.Name(), name)
	r.Meta.Created, r.Meta.Modified = in.Meta.Created, in.Meta.Modified
	for _, known := range inspect.Services(m, s.Online, s.KnownInsight) {
		if known.Meta.Name == name {
			r = known
		}
	}
	doc, err := api.Encode(r)
	if err != nil {
		return answer{}, err
	}
	return asJSON(http.StatusOK, json.RawMessage(doc))
}

func (s *Server) meshInsights(c call) (all []mesh.Resource, err error) {
	state, err := s.State(c.Context())
	if err != nil {
		return nil, err
	}
	page, err := s.Store.List(c.Context(), store.Query{Kind: mesh.MeshKind})
	if err != nil {
		return nil, err
	}
	unseen, err := s.unseen(c.Context())
	if err != nil {
		return nil, err
	}
	for _, r := range page.Items {
		if m := state.Mesh(r.Meta.Name); m != nil {
			if r, err = s.insightOfMesh(c.Context(), m, r.Meta, unseen); err != nil {
				return nil, err
			}
			all = append(all, r)
		}
	}
	return all, nil
}

func (s *Server) meshInsight(c call) (answer, error) {
	r, err := s.Store.Get(c.Context(), mesh.Key{Kind: mesh.MeshKind.Name, Name: c.PathValue("name")})
	if err != nil {
		return answer{}, err
	}
	state, err := s.State(c.Context())
	if err != nil {
		return answer{}, err
	}
	m := state.Mesh(r.Meta.Name)
	if m == nil {
		return answer{}, store.ErrNotFound
	}
	unseen, err := s.unseen(c.Context())
	if err != nil {
		return answer{}, err
	}
	if r, err = s.insightOfMesh(c.Context(), m, r.Meta, unseen); err != nil {
		return answer{}, err
	}
	doc, err := api.Encode(r)
	if err != nil {
		return answer{}, err
	}
	return asJSON(http.StatusOK, json.RawMessage(doc))
}

// unseen are the kinds of which a snapshot has nothing, and the store has some:
// secrets, and what has no effect yet.
func (s *Server) unseen(ctx context.Context) (kinds []*mesh.Kind, err error) {
	for _, k := range mesh.Kinds {
		if k.Scope != mesh.InMesh || k.ReadOnly || k != mesh.SecretKind && k.Pending == "" {
			continue
		}
		page, err := s.Store.List(ctx, store.Query{Kind: k, Size: 1})
		if err != nil {
			return nil, err
		}
		if page.Total > 0 {
			kinds = append(kinds, k)
		}
	}
	return kinds, nil
}

// insightOfMesh adds to what a snapshot tells what only the store and the
// streams know.
func (s *Server) insightOfMesh(ctx context.Context, m *snapshot.Mesh, meta mesh.Meta, unseen []*mesh.Kind) (mesh.Resource, error) {
	in := inspect.Mesh(m, s.Online, s.KnownInsight)
	for _, k := range unseen {
		page, err := s.Store.List(ctx, store.Query{Kind: k, Mesh: m.Name(), Size: 1})
		if err != nil {
			return mesh.Resource{}, err
		}
		if page.Total == 0 {
			continue
		}
		in.Resources[k.Name] = mesh.Total{Total: uint32(page.Total)}
		if k.Policy != nil {
			in.Policies[k.Name] = in.Resources[k.Name]
		}
	}
	return mesh.Resource{Kind: mesh.MeshInsightKind, Meta: mesh.Meta{Name: meta.Name, Created: meta.Created, Modified: meta.Modified}, Spec: in}, nil
}

// globalKinds counts what is in no mesh, by kind.
func (s *Server) globalKinds(c call) (map[string]mesh.Total, error) {
	counts := map[string]mesh.Total{}
	for _, k := range mesh.Kinds {
		if k.Scope != mesh.Global || k.ReadOnly {
			continue
		}
		page, err := s.Store.List(c.Context(), store.Query{Kind: k, Size: 1})
		if err != nil {
			return nil, err
		}
		if page.Total > 0 {
			counts[k.Name] = mesh.Total{Total: uint32(page.Total)}
		}
	}
	return counts, nil
}

// globalInsight counts everything. What has a number of its own, meshes and
// what zones consist of, is not among the resources.
func (s *Server) globalInsight(c call) (answer, error) {
	meshes, err := s.meshInsights(c)
	if err != nil {
		return answer{}, err
	}
	counts, err := s.globalKinds(c)
	if err != nil {
		return answer{}, err
	}
	services, err := s.serviceInsights(c)
	if err != nil {
		return answer{}, err
	}
	doc := api.GlobalInsight{CreatedAt: time.Now().UTC(), Meshes: counts[mesh.MeshKind.Name], Resources: map[string]mesh.Total{}}
	for kind, to := range map[*mesh.Kind]*api.ZoneCount{
		mesh.ZoneKind: &doc.Zones.ControlPlanes, mesh.ZoneIngressKind: &doc.Zones.ZoneIngresses, mesh.ZoneEgressKind: &doc.Zones.ZoneEgresses,
	} {
		to.Total = counts[kind.Name].Total
		delete(counts, kind.Name)
	}
	delete(counts, mesh.MeshKind.Name)
	for _, r := range meshes {
		doc.AddMesh(r.Spec.(*mesh.MeshInsight))
	}
	for _, r := range services {
		doc.AddService(r.Spec.(*mesh.ServiceInsight))
	}
	for name, n := range counts {
		doc.Resources[name] = n
	}
	return asJSON(http.StatusOK, doc)
}

func (s *Server) globalInsights(c call) (answer, error) {
	counts, err := s.globalKinds(c)
	if err != nil {
		return answer{}, err
	}
	return asJSON(http.StatusOK, struct {
		Type         string                `json:"type"`
		CreationTime time.Time             `json:"creationTime"`
		Resources    map[string]mesh.Total `json:"resources"`
	}{"GlobalInsights", time.Now().UTC(), counts})
}

// kri answers with the resource that an identifier names.
func (s *Server) kri(c call) (answer, error) {
	text := c.PathValue("kri")
	key, err := mesh.ParseKRI(text)
	if err != nil {
		return answer{}, wrong(errQuery, "kri", "%s", err)
	}
	k, _ := mesh.KindByName(key.Kind)
	if k.Admin && !s.everywhere(c.user, AdminResources) {
		return answer{}, denial{c.user, fmt.Sprintf("access the resource of type %q", k.Name)}
	}
	r, err := s.Store.Get(c.Context(), key)
	if err == nil && r.KRI(r.Meta.Labels[mesh.ZoneLabel]) != text {
		err = errors.Join(store.ErrNotFound, errors.New("it is in another zone"))
	}
	if err != nil {
		return answer{}, err
	}
	return s.single(c, r, asItIs)
}
