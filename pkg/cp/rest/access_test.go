package rest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestEveryRouteAsks walks the table: without a credential nothing answers,
// without a permission neither, and what is not there is not told apart.
func TestEveryRouteAsks(t *testing.T) {
	f := newFixture(t)
	routes := f.routes()
	if len(routes) < 20 {
		t.Fatalf("%d routes only", len(routes))
	}
	var user User
	f.Authenticate = func(r *http.Request) (User, error) {
		if r.Header.Get("Authorization") == "" {
			return User{}, ErrNoCredential
		}
		return user, nil
	}
	values := strings.NewReplacer("{$}", "", "{mesh}", "default", "{name}", "default", "{stage}", "plan", "{kri}", "k", "{route}", "r")
	ask := func(method, path string, headers ...string) (int, string) {
		resp, body := f.request(t, method, path, "", headers...)
		if resp.header.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(resp.header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s %s lacks security headers: %v", method, path, resp.header)
		}
		return resp.status, body
	}
	for _, r := range routes {
		method, path, _ := strings.Cut(values.Replace(r.pattern), " ")
		status, body := ask(method, path, "Authorization", "")
		if status != 401 || !strings.Contains(body, "admin-token") || !strings.Contains(body, "unix socket") {
			t.Errorf("%s without a credential answered %d:\n%s", r.pattern, status, body)
		}
		user = User{Name: "joe", Groups: []string{"ops"}}
		status, body = ask(method, path)
		if status != 403 || !strings.Contains(body, `user \"joe/ops\" cannot `) || !strings.Contains(body, "Access Denied") {
			t.Errorf("%s without a permission answered %d:\n%s", r.pattern, status, body)
		}
		user.Groups = []string{AuthenticatedGroup}
		if status, _ = ask(method, path); (status == 403) != (r.needs != ViewAbout) {
			t.Errorf("%s of a user without rights answered %d", r.pattern, status)
		}
	}
	for _, path := range []string{"/nonsense", "/meshes/absent", "/meshes/absent/secrets/x"} {
		if status, _ := ask("GET", path, "Authorization", ""); status != 401 {
			t.Errorf("GET %s without a credential answered %d", path, status)
		}
	}
	user = User{Name: "joe", Groups: []string{AuthenticatedGroup}}
	there, denied := ask("GET", "/meshes/default/secrets/x")
	absent, deniedToo := ask("GET", "/meshes/absent/secrets/x")
	if there != 403 || absent != 403 || denied != deniedToo {
		t.Errorf("who may not look can tell what is there: %d %s, %d %s", there, denied, absent, deniedToo)
	}
	if !strings.Contains(denied, `cannot access the resource of type \"Secret\"`) {
		t.Errorf("the reason is %s", denied)
	}
	if _, types := ask("GET", "/_resources"); strings.Contains(types, "Secret") || !strings.Contains(types, "Dataplane") {
		t.Errorf("types of a user who may not read secrets are %s", types)
	}
}

func TestRouteWithoutPermissionIsNotMounted(t *testing.T) {
	s := newFixture(t).Server
	serve := func(call) (answer, error) { return answer{}, nil }
	for name, r := range map[string]route{
		"no permission":      {pattern: "GET /x", action: "x", failed: "x", serve: serve},
		"unknown permission": {pattern: "GET /x", needs: "all", action: "x", failed: "x", serve: serve},
		"no handler":         {pattern: "GET /x", needs: ViewAbout, action: "x", failed: "x"},
	} {
		if h, err := s.mount(append(s.routes(), r)); err == nil || h != nil {
			t.Errorf("%s: mounted all the same", name)
		}
	}
	whole := route{pattern: "GET /x", needs: ViewAbout, action: "x", failed: "x", serve: serve}
	if _, err := s.mount([]route{whole, whole}); err == nil {
		t.Error("a route was mounted twice")
	}
	if _, err := s.mount([]route{whole}); err != nil {
		t.Errorf("a whole route is not mounted: %v", err)
	}
}

func TestSecretsAreNotLogged(t *testing.T) {
	f := newFixture(t)
	const secret = "c3VwZXIgc2VjcmV0"
	f.want(t, 201, "PUT", "/meshes/default/secrets/s", `{"type": "Secret", "mesh": "default", "name": "s", "data": "`+secret+`"}`)
	f.want(t, 200, "GET", "/meshes/default/secrets/s", "", secret)
	f.want(t, 400, "PUT", "/meshes/default/secrets/s", `{"type": "Secret", "mesh": "default", "name": "s", "data": "`+secret+`!"}`)
	f.want(t, 200, "DELETE", "/meshes/default/secrets/s", "")
	got := f.log.String()
	for _, never := range []string{secret, "super secret", token} {
		if strings.Contains(got, never) {
			t.Errorf("the log has %q:\n%s", never, got)
		}
	}
	for _, fact := range []string{`msg="resource was stored" user=mesh-system:admin kind=Secret mesh=default name=s`, `msg="resource was deleted"`} {
		if !strings.Contains(got, fact) {
			t.Errorf("the log lacks %s:\n%s", fact, got)
		}
	}
}

func TestHandlerPanicsOnNothingOfTheClient(t *testing.T) {
	f := newFixture(t)
	h := f.Handler()
	for _, target := range []string{"*", "/%zz", "/meshes/%ff", "/meshes?size=%zz", "/?;"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.Path, r.RequestURI = target, target
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code < 200 || w.Code >= 500 {
			t.Errorf("%q answered %d", target, w.Code)
		}
	}
	if strings.Contains(f.log.String(), "panic") {
		t.Errorf("the log says:\n%s", f.log)
	}
}
