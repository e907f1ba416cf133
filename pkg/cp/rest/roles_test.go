package rest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// roles are users who may do something, each in another way.
var roles = []struct {
	user User
	rule mesh.AccessRule // "" for those who have none
	list Permission      // the access list on which the user is
}{
	{user: admin()},
	{user: User{Name: "nobody", Groups: []string{AuthenticatedGroup}}},
	{user: User{Name: "reader-a"}, rule: mesh.AccessRule{Mesh: "a", Types: []string{"*"}, Access: []string{mesh.AccessRead}}},
	{user: User{Name: "owner-a", Groups: []string{"team-a"}}, rule: mesh.AccessRule{Mesh: "a", Types: []string{"*"}, Access: []string{"*"}}},
	{user: User{Name: "secrets-a"}, rule: mesh.AccessRule{Mesh: "a", Types: []string{"Secret"}, Access: []string{mesh.AccessRead, mesh.AccessUpdate}}},
	{user: User{Name: "tokens-a"}, rule: mesh.AccessRule{Mesh: "a", Access: []string{mesh.AccessGenerateDataplane}}},
	{user: User{Name: "rotates-a"}, rule: mesh.AccessRule{Mesh: "a", Access: []string{mesh.AccessRotate}}},
	{user: User{Name: "reads-all"}, rule: mesh.AccessRule{Mesh: "*", Types: []string{"*"}, Access: []string{mesh.AccessRead}}},
	{user: User{Name: "writes-all"}, list: WriteResources},
	{user: User{Name: "sees-all"}, list: Inspect},
}

// verdicts say who may use a route, of the users that roles lists, beside the
// administrator: by what the route needs, and whether it is of one mesh. A route
// that needs what is not here has no verdict, and the test fails.
//
// "a" stands for those whose role is bound to the mesh "a": they are let in
// where the path names that mesh, and nowhere else.
var verdicts = map[Permission]struct{ anywhere, inA []string }{
	ViewAbout:       {anywhere: []string{"nobody", "reader-a", "owner-a", "secrets-a", "tokens-a", "rotates-a", "reads-all", "writes-all", "sees-all"}},
	ViewConfig:      {},
	ViewHosts:       {anywhere: []string{"tokens-a"}},
	ReadResources:   {anywhere: []string{"reads-all"}, inA: []string{"reader-a", "owner-a"}},
	WriteResources:  {anywhere: []string{"writes-all"}, inA: []string{"owner-a"}},
	AdminResources:  {},
	IssueTokens:     {anywhere: []string{"tokens-a"}}, // for the mesh in the body, see below
	IssueZoneTokens: {},
	IssueUserTokens: {},
	Inspect:         {anywhere: []string{"sees-all"}, inA: []string{"owner-a"}},
	ViewStats:       {inA: []string{"owner-a"}},
	ViewClusters:    {inA: []string{"owner-a"}},
	Rotate:          {inA: []string{"rotates-a"}},
}

// newRoles is a control plane with the meshes "a" and "b", with something in
// each, and all of roles.
func newRoles(t *testing.T) (f *fixture, be func(User)) {
	t.Helper()
	var user User
	f = newFixture(t, func(s *Server) {
		s.Authenticate = func(*http.Request) (User, error) { return user, nil }
		s.Access = map[Permission]Subjects{}
		for _, r := range roles {
			if r.list != "" {
				s.Access[r.list] = Subjects{Users: []string{r.user.Name}}
			}
		}
	})
	user = admin()
	for _, in := range []string{"a", "b"} {
		f.want(t, 201, "PUT", "/meshes/"+in, `{"type": "Mesh", "name": "`+in+`"}`)
		f.want(t, 201, "PUT", "/meshes/"+in+"/secrets/x", `{"type": "Secret", "mesh": "`+in+`", "name": "x", "data": "eA=="}`)
	}
	for _, r := range roles {
		if len(r.rule.Access) == 0 {
			continue
		}
		types := "[]"
		if len(r.rule.Types) > 0 {
			types = `["` + strings.Join(r.rule.Types, `","`) + `"]`
		}
		f.want(t, 201, "PUT", "/access-roles/"+r.user.Name, fmt.Sprintf(`{"type": "AccessRole", "name": %q, "rules": [{"mesh": %q, "types": %s, "access": ["%s"]}]}`,
			r.user.Name, r.rule.Mesh, types, strings.Join(r.rule.Access, `","`)))
		subject := `{"type": "User", "name": "` + r.user.Name + `"}`
		if len(r.user.Groups) > 0 {
			subject = `{"type": "Group", "name": "` + r.user.Groups[0] + `"}`
		}
		f.want(t, 201, "PUT", "/access-role-bindings/"+r.user.Name, fmt.Sprintf(`{"type": "AccessRoleBinding", "name": %q, "subjects": [%s], "roles": [%q]}`, r.user.Name, subject, r.user.Name))
	}
	return f, func(u User) {
		if user = u; !slices.Contains(u.Groups, AuthenticatedGroup) {
			user.Groups = append(slices.Clone(u.Groups), AuthenticatedGroup) // as Bearer does
		}
	}
}

// TestEveryRouteByEveryRole takes the router's own table: who may use a route
// that was added today is decided today.
func TestEveryRouteByEveryRole(t *testing.T) {
	f, be := newRoles(t)
	asked := 0
	for _, r := range f.routes() {
		verdict, ok := verdicts[r.needs]
		if !ok {
			t.Errorf("%s needs %q, and nothing says who has that", r.pattern, r.needs)
			continue
		}
		method, path, _ := strings.Cut(r.pattern, " ")
		bound := strings.Contains(path, "{mesh}") || strings.HasPrefix(path, "/meshes/{name}") || strings.HasPrefix(path, "/mesh-insights/{name}")
		for _, in := range []string{"a", "b"} {
			name := "x"
			if strings.HasPrefix(path, "/meshes/{name}") || strings.HasPrefix(path, "/mesh-insights/{name}") {
				name = in
			}
			at := strings.NewReplacer("{$}", "", "{mesh}", in, "{name}", name, "{stage}", "plan", "{kri}", "kri_tp_"+in+"_default__x_", "{route}", "x", "{id}", "1").Replace(path)
			for _, role := range roles {
				be(role.user)
				want := role.user.Name == AdminUser || slices.Contains(verdict.anywhere, role.user.Name) ||
					bound && in == "a" && slices.Contains(verdict.inA, role.user.Name)
				if role.user.Name == "secrets-a" && in == "a" && bound && r.needs == AdminResources {
					want = strings.Contains(path, "/secrets") && method != "DELETE" // the Secret is there, so that PUT replaces it
				}
				resp, body := f.request(t, method, at, "")
				asked++
				if (resp.status != 403) != want {
					t.Errorf("%s %s as %s answered %d, want it let in: %t\n%s", method, at, role.user.Name, resp.status, want, body)
				}
				if !want && strings.Contains(body, "\n\"eA==\"") {
					t.Errorf("%s %s as %s shows a secret", method, at, role.user.Name)
				}
			}
			if method == "DELETE" && strings.Contains(path, "/secrets") {
				be(admin())
				f.request(t, "PUT", "/meshes/"+in+"/secrets/x", `{"type": "Secret", "mesh": "`+in+`", "name": "x", "data": "eA=="}`)
			}
			if r.pattern == "DELETE /meshes/{name}" {
				be(admin())
				f.request(t, "PUT", "/meshes/"+in, `{"type": "Mesh", "name": "`+in+`"}`)
				f.request(t, "PUT", "/meshes/"+in+"/secrets/x", `{"type": "Secret", "mesh": "`+in+`", "name": "x", "data": "eA=="}`)
			}
		}
	}
	t.Logf("F24: seed none, questions %d: every route, by %d roles, about two meshes", asked, len(roles))
}

// A role that is bound to a mesh is told alike of what is there and what is not,
// and cannot reach another mesh by any other name for it.
func TestMeshBoundRole(t *testing.T) {
	f, be := newRoles(t)
	be(roles[3].user) // owner-a
	f.want(t, 201, "PUT", "/meshes/a/retries/r", `{"type": "Retry", "mesh": "a", "name": "r", "sources": [{"match": {"kuma.io/service": "*"}}], "destinations": [{"match": {"kuma.io/service": "*"}}], "conf": {"http": {"numRetries": 1}}}`)
	f.want(t, 200, "GET", "/meshes/a/retries", "", `"name": "r"`)
	denied := f.want(t, 403, "GET", "/meshes/b/retries/r", "")
	for _, path := range []string{
		"/meshes/absent/retries/r", "/meshes/b/retries", "/meshes/b/retries?size=1&offset=1", "/meshes/b/retries?filter[labels.kuma.io/mesh]=a", "/retries", "/retries?name=r",
		"/meshes/*/retries", "/meshes/%2a/retries", "/meshes/A/retries",
	} {
		f.want(t, 403, "GET", path, "", "Access Denied")
	}
	if absent := f.want(t, 403, "GET", "/meshes/absent/retries/r", ""); absent != denied {
		t.Errorf("what is there and what is not are told apart:\n%s%s", denied, absent)
	}
	// The mesh of the path counts, and the body may not say another.
	f.want(t, 400, "PUT", "/meshes/a/retries/r", `{"type": "Retry", "mesh": "b", "name": "r"}`)
	f.want(t, 403, "GET", "/_kri/kri_rt_b_default__r_", "")
	f.want(t, 403, "PUT", "/meshes/a/secrets/y", `{"type": "Secret", "mesh": "a", "name": "y"}`)
	f.want(t, 403, "PUT", "/access-roles/mine", `{"type": "AccessRole", "name": "mine", "rules": [{"mesh": "*", "types": ["*"], "access": ["*"]}]}`)

	be(User{Name: "tokens-a"})
	f.want(t, 200, "POST", "/tokens/dataplane", `{"mesh": "a"}`, "a.b.c")
	other := f.want(t, 403, "POST", "/tokens/dataplane", `{"mesh": "b"}`)
	if absent := f.want(t, 403, "POST", "/tokens/dataplane", `{"mesh": "absent"}`); absent != other {
		t.Errorf("meshes that are there are told apart:\n%s%s", other, absent)
	}
	f.want(t, 200, "GET", "/_weft/hosts", "")

	be(User{Name: "secrets-a"})
	f.want(t, 200, "PUT", "/meshes/a/secrets/x", `{"type": "Secret", "mesh": "a", "name": "x", "data": "eQ=="}`)
	f.want(t, 403, "PUT", "/meshes/a/secrets/new", `{"type": "Secret", "mesh": "a", "name": "new", "data": "eQ=="}`)

	// A role that goes gives nothing any more, at once.
	be(admin())
	f.want(t, 200, "DELETE", "/access-roles/owner-a", "")
	be(roles[3].user)
	f.want(t, 403, "GET", "/meshes/a/retries/r", "")
}
