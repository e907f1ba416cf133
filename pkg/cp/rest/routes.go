package rest

import (
	"fmt"
	"net/http"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// A route is one method of one path.
type route struct {
	pattern string // of http.ServeMux
	needs   Permission
	action  string // what one may not do without it: `user "joe" cannot …`
	failed  string // title of the error document
	serve   func(call) (answer, error)
}

// A call is a request whose sender is known and allowed to make it.
type call struct {
	*http.Request
	user User
}

// Titles of error documents. Clients show them, and some compare them.
const (
	cannotGet    = "Could not retrieve a resource"
	cannotList   = "Could not retrieve resources"
	cannotPut    = "Could not process a resource"
	cannotDelete = "Could not delete a resource"
	badRequest   = "Invalid request"
)

// routes is everything that is served.
func (s *Server) routes() []route {
	all := []route{
		{"GET /{$}", ViewAbout, "see the version", "Could not tell the version", s.about},
		{"GET /who-am-i", ViewAbout, "see who it is", "Could not tell who you are", s.whoAmI},
		{"GET /_resources", ViewAbout, "list the types of resources", "Could not list the types of resources", s.resourceTypes},
		{"GET /policies", ViewAbout, "list the types of policies", "Could not list the types of policies", s.policyTypes},
		{"GET /_kri/{kri}", ReadResources, "read resources", cannotGet, s.kri},
		{"GET /status/zones", ViewAbout, "see which zones are there", cannotList, s.zones},
		{"GET /gui", ViewAbout, "see what is in place of a GUI", "Could not show a GUI", noGUI},
		{"GET /gui/{path...}", ViewAbout, "see what is in place of a GUI", "Could not show a GUI", noGUI},
		{"GET /config", ViewConfig, "see the configuration", "Could not show the configuration", s.config},
		{"GET /_weft/replicas", ViewHosts, "see the control planes", "Could not tell which control planes there are", s.replicas},
		{"GET /_weft/hosts", ViewHosts, "see how hosts reach the control plane", "Could not tell how hosts reach the control plane", s.hosts},
		{"POST /tokens/dataplane", IssueTokens, "generate dataplane tokens", badRequest, s.dataplaneToken},
		{"POST /tokens/zone", IssueZoneTokens, "generate zone tokens", badRequest, s.zoneToken},
		{"POST /tokens/user", IssueUserTokens, "generate user tokens", badRequest, s.userToken},
		{"GET /meshes/{mesh}/dataplanes/{name}/_stages/{stage}", Inspect, "inspect dataplanes", "Could not inspect a dataplane", s.stage},
	}
	all = append(all, s.overviewRoutes()...)
	all = append(all, s.insightRoutes()...)
	all = append(all, s.inspectRoutes()...)
	all = append(all, s.authorityRoutes()...)
	all = append(all, s.tokenRoutes()...)
	for _, k := range mesh.Kinds {
		if k.ReadOnly {
			continue
		}
		for _, path := range append([]string{k.Path}, k.Aliases...) {
			all = append(all, s.kindRoutes(k, path)...)
		}
	}
	return append(all, s.described(all))
}

func (s *Server) kindRoutes(k *mesh.Kind, path string) []route {
	action := fmt.Sprintf("access the resource of type %q", k.Name)
	read, write := ReadResources, WriteResources
	if k.Admin {
		read, write = AdminResources, AdminResources
	}
	items := "/" + path
	var everywhere []route
	if k.Scope == mesh.InMesh {
		everywhere = []route{{"GET " + items, read, action, cannotList, s.list(k, asItIs, nil)}}
		items = "/meshes/{mesh}/" + path
	}
	return append(everywhere,
		route{"GET " + items, read, action, cannotList, s.list(k, asItIs, nil)},
		route{"GET " + items + "/{name}", read, action, cannotGet, s.get(k, asItIs)},
		route{"PUT " + items + "/{name}", write, action, cannotPut, s.put(k)},
		route{"DELETE " + items + "/{name}", write, action, cannotDelete, s.delete(k)},
	)
}

// overviewsOf says of which kinds resources are told together with how they
// fare: by the path of today, and by that which older clients ask.
func (s *Server) overviewsOf() []overviewOf {
	return []overviewOf{
		{mesh.DataplaneKind, "dataplanes+insights", s.overview, s.knownOverview},
		{mesh.ZoneKind, "zones+insights", zoneOverview("zone"), zoneOverview("zone")},
		{mesh.ZoneIngressKind, "zoneingresses+insights", zoneOverview("zoneIngress"), zoneOverview("zoneIngress")},
		{mesh.ZoneEgressKind, "zoneegressoverviews", zoneOverview("zoneEgress"), zoneOverview("zoneEgress")},
	}
}

type overviewOf struct {
	kind      *mesh.Kind
	old       string
	one, many writing
}

func (s *Server) overviewRoutes() (all []route) {
	get := func(path, failed string, serve func(call) (answer, error)) {
		all = append(all, route{"GET " + path, ReadResources, seeHow, failed, serve})
	}
	for _, o := range s.overviewsOf() {
		one, many := s.get(o.kind, o.one), s.list(o.kind, o.many, nil)
		in := "/"
		if o.kind.Scope == mesh.InMesh {
			get("/"+o.kind.Path+"/_overview", cannotList, many)
			get("/"+o.old, cannotList, many)
			in = "/meshes/{mesh}/"
		}
		for _, path := range append([]string{o.kind.Path}, o.kind.Aliases...) {
			get(in+path+"/_overview", cannotList, many)
			get(in+path+"/{name}/_overview", cannotGet, one)
		}
		get(in+o.old, cannotList, many)
		get(in+o.old+"/{name}", cannotGet, one)
	}
	return all
}
