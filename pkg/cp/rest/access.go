package rest

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// Users and groups that mean something here.
const (
	AdminUser          = "mesh-system:admin"
	AdminGroup         = "mesh-system:admin"
	AuthenticatedGroup = "mesh-system:authenticated"
)

// A User is who sends a request.
type User struct {
	Name   string
	Groups []string
}

// String returns name/group,group, as it stands in messages.
func (u User) String() string { return u.Name + "/" + strings.Join(u.Groups, ",") }

func admin() User {
	return User{Name: AdminUser, Groups: []string{AdminGroup, AuthenticatedGroup}}
}

// A Permission is what a route needs.
type Permission string

// All permissions. The zero value is none.
const (
	ViewAbout       Permission = "view-about"
	ViewConfig      Permission = "view-config"
	ViewHosts       Permission = "view-hosts"
	ReadResources   Permission = "read-resources"
	WriteResources  Permission = "write-resources"
	AdminResources  Permission = "admin-resources" // kinds that only administrators see
	IssueTokens     Permission = "issue-tokens"    // of dataplanes
	IssueZoneTokens Permission = "issue-zone-tokens"
	IssueUserTokens Permission = "issue-user-tokens"
	Inspect         Permission = "inspect"
	ViewStats       Permission = "view-stats"
	ViewClusters    Permission = "view-clusters"
	Rotate          Permission = "rotate" // authorities and signing keys; revoking
)

var permissions = []Permission{
	ViewAbout, ViewConfig, ViewHosts, ReadResources, WriteResources, AdminResources, IssueTokens, IssueZoneTokens, IssueUserTokens,
	Inspect, ViewStats, ViewClusters, Rotate,
}

// granted says what members of a group may do in all meshes. What is not here,
// in an access list or in a role is denied.
var granted = map[string][]Permission{
	AdminGroup:         permissions,
	AuthenticatedGroup: {ViewAbout},
}

func (u User) may(p Permission) bool {
	return slices.ContainsFunc(u.Groups, func(group string) bool {
		return slices.Contains(granted[group], p)
	})
}

// Subjects are users and groups.
type Subjects struct{ Users, Groups []string }

func (s Subjects) have(u User) bool {
	return slices.Contains(s.Users, u.Name) || slices.ContainsFunc(u.Groups, func(g string) bool { return slices.Contains(s.Groups, g) })
}

// accesses says which access of a role gives a permission. Reading and writing
// follow from the method.
var accesses = map[Permission]string{
	ViewConfig:      mesh.AccessViewControlPlane,
	ViewHosts:       mesh.AccessViewControlPlane,
	IssueTokens:     mesh.AccessGenerateDataplane,
	IssueZoneTokens: mesh.AccessGenerateZone,
	IssueUserTokens: mesh.AccessGenerateUser,
	Inspect:         mesh.AccessInspect,
	ViewStats:       mesh.AccessInspect,
	ViewClusters:    mesh.AccessInspect,
	Rotate:          mesh.AccessRotate,
}

// inBody are the routes whose mesh stands in the body: whoever may do it in some
// mesh is let in, and the handler asks again for the one that is meant.
var inBody = []string{"POST /tokens/dataplane"}

// wants says what a request wants, as roles speak of it.
func (r route) wants(req *http.Request) mesh.Access {
	method, path, _ := strings.Cut(r.pattern, " ")
	want := mesh.Access{What: accesses[r.needs], Name: req.PathValue("name")}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case len(parts) > 1 && (parts[0] == mesh.MeshKind.Path && parts[1] == "{name}" || parts[0] == mesh.MeshInsightKind.Path):
		want.Kind, want.Mesh = mesh.MeshKind, want.Name
	case len(parts) > 2 && parts[1] == "{mesh}":
		want.Kind, want.Mesh = kindAt(parts[2]), req.PathValue("mesh")
	default:
		want.Kind = kindAt(parts[0])
	}
	if want.Kind == nil { // of the mesh as a whole
		want.Kind = mesh.MeshKind
		if want.What == mesh.AccessInspect {
			want.Kind = mesh.DataplaneKind
		}
	}
	switch want.What {
	case mesh.AccessInspect:
	case "":
		want.What = map[string]string{http.MethodGet: mesh.AccessRead, http.MethodDelete: mesh.AccessDelete}[method]
	default:
		want.Kind, want.Name = nil, "" // of no kind
	}
	return want
}

func kindAt(path string) *mesh.Kind {
	path = strings.TrimSuffix(path, "+insights")
	for _, k := range mesh.Kinds {
		if k.Path == path || slices.Contains(k.Aliases, path) {
			return k
		}
	}
	return nil
}

// admits tells whether a user may use a route.
func (s *Server) admits(r route, req *http.Request, u User) (bool, error) {
	if s.everywhere(u, r.needs) {
		return true, nil
	}
	rules, err := s.rules(req.Context(), u)
	if err != nil || len(rules) == 0 {
		return false, err
	}
	want := r.wants(req)
	allowed := func(a mesh.Access) bool {
		return slices.ContainsFunc(rules, func(rule mesh.AccessRule) bool { return rule.Allows(a) })
	}
	switch {
	case r.needs == ViewAbout:
		return true, nil
	case slices.Contains(inBody, r.pattern), r.needs == ViewHosts && !allowed(want): // hosts join by a token and an address
		return slices.ContainsFunc(rules, func(rule mesh.AccessRule) bool {
			return slices.Contains(rule.Access, mesh.AccessGenerateDataplane)
		}), nil
	case want.What == "": // PUT
		return s.mayPut(req.Context(), want, allowed)
	}
	return allowed(want), nil
}

// mayPut tells whether a resource may be created or replaced, whichever it would
// be.
func (s *Server) mayPut(ctx context.Context, want mesh.Access, allowed func(mesh.Access) bool) (bool, error) {
	create, update := want, want
	create.What, update.What = mesh.AccessCreate, mesh.AccessUpdate
	if c, u := allowed(create), allowed(update); c == u {
		return c, nil
	}
	key := mesh.Key{Kind: want.Kind.Name, Mesh: want.Mesh, Name: want.Name}
	if want.Kind.Scope == mesh.Global {
		key.Mesh = ""
	}
	_, err := s.Store.Get(ctx, key)
	switch {
	case err == nil:
		return allowed(update), nil
	case errors.Is(err, store.ErrNotFound):
		return allowed(create), nil
	default:
		return false, err
	}
}

// everywhere tells whether a user has a permission in all meshes, by being an
// administrator or by an access list.
func (s *Server) everywhere(u User, p Permission) bool {
	return u.may(p) || s.Access[p].have(u)
}

// mayIn tells whether a user may do something of no kind in a mesh.
func (s *Server) mayIn(ctx context.Context, u User, p Permission, meshName string) (bool, error) {
	if s.everywhere(u, p) {
		return true, nil
	}
	rules, err := s.rules(ctx, u)
	want := mesh.Access{What: accesses[p], Mesh: meshName}
	return slices.ContainsFunc(rules, func(r mesh.AccessRule) bool { return r.Allows(want) }), err
}

// rules are those of the roles that a user has.
func (s *Server) rules(ctx context.Context, u User) (rules []mesh.AccessRule, err error) {
	bindings, err := s.Store.List(ctx, store.Query{Kind: mesh.AccessRoleBindingKind})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, r := range bindings.Items {
		if b, ok := r.Spec.(*mesh.AccessRoleBinding); ok && b.Binds(u.Name, u.Groups) {
			names = append(names, b.Roles...)
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		r, err := s.Store.Get(ctx, mesh.Key{Kind: mesh.AccessRoleKind.Name, Name: name})
		if errors.Is(err, store.ErrNotFound) {
			continue // a role that is not there gives nothing
		}
		if err != nil {
			return nil, err
		}
		if role, ok := r.Spec.(*mesh.AccessRole); ok {
			rules = append(rules, role.Rules...)
		}
	}
	return rules, nil
}
