package rest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/admission"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

func TestStatuses(t *testing.T) {
	violations := mesh.Violations{{Field: "a", Reason: "b"}}
	for _, test := range []struct {
		err           error
		status        int
		title, detail string
		causes        int
	}{
		{store.ErrNotFound, 404, "T", "Not found", 0},
		{admission.ErrNoMesh, 404, "Failed to retrieve Mesh", "Not found", 0},
		{store.ErrConflict, 409, "Conflict", "retry", 0},
		{violations, 400, "T", "Resource is not valid", 1},
		{fmt.Errorf("%w: %w", admission.ErrRefused, violations), 400, "T", "Resource is not valid", 1},
		{&api.SyntaxError{Text: "line 3"}, 400, "Bad Request", "line 3", 0},
		{api.ErrTooLarge, 413, "Document is too large", "too large", 0},
		{ErrNoCredential, 401, "T", "admin-token", 0},
		{ErrBadCredential, 401, "T", "admin-token", 0},
		{errDenied, 403, "Access Denied", "denied", 0},
		{context.Canceled, 499, "T", "went away", 0},
		{context.DeadlineExceeded, 503, "Service unavailable", "again", 0},
		{errors.New("the password of the database is x"), 500, "T", "Internal Server Error", 0},
	} {
		d := document("T", fmt.Errorf("try this: %w", test.err))
		if d.Status != test.status || d.Title != test.title || !strings.Contains(d.Detail, test.detail) {
			t.Errorf("%v became %d %q %q, want %d %q %q", test.err, d.Status, d.Title, d.Detail, test.status, test.title, test.detail)
		}
		if len(d.Causes) != test.causes || len(d.InvalidParameters) != test.causes {
			t.Errorf("%v has causes %v", test.err, d.Causes)
		}
		if strings.Contains(d.Detail, "password") {
			t.Errorf("the detail %q tells what is nobody's business", d.Detail)
		}
	}
}

// failing is a store in which something is wrong.
type failing struct {
	reader
	err   error
	panic any
}

func (f failing) Get(context.Context, mesh.Key) (mesh.Resource, error) {
	if f.panic != nil {
		panic(f.panic)
	}
	return mesh.Resource{}, f.err
}

func TestOurOwnFaults(t *testing.T) {
	for name, broken := range map[string]failing{
		"error": {err: errors.New("disk on fire")},
		"panic": {panic: "disk on fire"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, func(s *Server) { s.Store = broken })
			got := f.want(t, 500, "GET", "/meshes/default", "", "Could not retrieve a resource", "Internal Server Error")
			if strings.Contains(got, "fire") {
				t.Errorf("the answer tells the cause:\n%s", got)
			}
			if log := f.log.String(); !strings.Contains(log, "disk on fire") || strings.Count(log, "level=ERROR") != 1 {
				t.Errorf("the log does not tell the cause once:\n%s", log)
			}
			f.want(t, 200, "GET", "/who-am-i", "") // it goes on
		})
	}
}

func TestConflict(t *testing.T) {
	f := newFixture(t, func(s *Server) { s.Admission = overtaken{} })
	f.want(t, 409, "PUT", "/meshes/m", `{"type": "Mesh", "name": "m"}`, "Conflict")
}

type overtaken struct{ writer }

func (overtaken) Put(context.Context, mesh.Resource) (admission.Result, error) {
	return admission.Result{}, store.ErrConflict
}

func TestBadBodies(t *testing.T) {
	f := newFixture(t)
	before := f.want(t, 200, "GET", "/dataplanes", "")
	for name, test := range map[string]struct {
		status int
		body   string
		words  []string
	}{
		"no document":   {400, `{"type": `, []string{"Bad Request"}},
		"nothing":       {400, " ", nil},
		"no object":     {400, `[1]`, nil},
		"unknown field": {400, strings.Replace(dataplane("a", "web"), "address", "addressx", 1), []string{"networking.addressx", "did you mean"}},
		"wrong type":    {400, strings.Replace(dataplane("a", "web"), "80", `"x"`, 1), []string{"networking.inbound[0].port"}},
		"other kind":    {400, `{"type": "Mesh", "name": "a"}`, []string{`"field": "type"`, "Dataplane"}},
		"other mesh":    {400, strings.Replace(dataplane("a", "web"), `"default"`, `"other"`, 1), []string{"mesh from the URL has to be the same as in body"}},
		"all at once": {400, `{"type": "Dataplane", "mesh": "other", "name": "b", "labels": {"a b": "c"}, "networking": {"inbound": [{"port": 99999}]}}`,
			[]string{`"field": "mesh"`, `"field": "name"`, "labels", "networking.address", "networking.inbound[0].port", "kuma.io/service"}},
		"deep":      {400, strings.Repeat("[", 5000), nil},
		"bad UTF-8": {400, "{\"type\": \"Dataplane\", \"name\": \"\xff\"}", nil},
	} {
		t.Run(name, func(t *testing.T) {
			f.want(t, test.status, "PUT", "/meshes/default/dataplanes/a", test.body, test.words...)
		})
	}
	if after := f.want(t, 200, "GET", "/dataplanes", ""); after != before {
		t.Errorf("something was stored:\n%s", after)
	}
}

func TestMediaTypes(t *testing.T) {
	f := newFixture(t)
	for sent, want := range map[string]int{
		"application/json; charset=utf-8":   200,
		"application/yaml":                  200,
		"":                                  200,
		"application/x-www-form-urlencoded": 415,
		"text/plain":                        415,
		"multipart/form-data; boundary=x":   415,
		"nonsense;;":                        415,
	} {
		resp, body := f.request(t, "PUT", "/meshes/default", `{"type": "Mesh", "name": "default"}`, "Content-Type", sent)
		if resp.status != want {
			t.Errorf("Content-Type %q answered %d, want %d: %s", sent, resp.status, want, body)
		}
	}
}

// endless is a body that never ends; the server has to.
type endless struct{ sent atomic.Int64 }

func (e *endless) Read(b []byte) (int, error) {
	e.sent.Add(int64(len(b)))
	return copy(b, bytes.Repeat([]byte(" "), len(b))), nil
}

func TestLargeBodies(t *testing.T) {
	f := newFixture(t)
	f.want(t, 413, "PUT", "/meshes/m", strings.Repeat(" ", api.MaxDocument+1), "too large", "1048576")
	stream := &endless{}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, f.url+"/meshes/m", io.NopCloser(stream))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err == nil { // else the server hung up while we were sending
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("a body without end answered %d", resp.StatusCode)
		}
	}
	if sent := stream.sent.Load(); sent > 64*api.MaxDocument {
		t.Errorf("the server let us send %d bytes", sent)
	}
	large := `{"type": "Secret", "mesh": "default", "name": "s", "data": "` + strings.Repeat("QUFB", (api.MaxDocument-100)/4) + `"}`
	f.want(t, 201, "PUT", "/meshes/default/secrets/s", large)
}

func TestPathsAndMethods(t *testing.T) {
	f := newFixture(t)
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/nonsense", 404},
		{"GET", "/meshes/", 404},
		{"GET", "//meshes", 404},
		{"GET", "/meshes/../meshes", 404},
		{"GET", "/meshes/%2e%2e/meshes", 404},
		{"GET", "/meshes/default/dataplanes/a%2Fb", 404},
		{"GET", "/meshes/default/dataplanes/%00", 404},
		{"DELETE", "/meshes/default/dataplanes/..%2f..%2fdefault", 404},
		{"POST", "/meshes", 405},
		{"DELETE", "/meshes", 405},
		{"PUT", "/dataplanes/a", 404},
		{"PUT", "/who-am-i", 405},
		{"TRACE", "/meshes", 405},
	} {
		resp, body := f.request(t, test.method, test.path, "")
		if resp.status != test.status {
			t.Errorf("%s %s answered %d, want %d:\n%s", test.method, test.path, resp.status, test.status, body)
		}
		if test.status == 405 && resp.header.Get("Allow") == "" {
			t.Errorf("%s %s does not say what is allowed", test.method, test.path)
		}
		if doc, ok := parse(t, body).(map[string]any); !ok || doc["type"] != "/std-errors" {
			t.Errorf("%s %s is no error document:\n%s", test.method, test.path, body)
		}
	}
	for _, name := range []string{"a%2Fb", "%2e%2e%2fx", "A", "a%0d%0ab", "%E2%80%AEx", strings.Repeat("a", 254)} {
		f.want(t, 400, "PUT", "/meshes/"+name, `{"type": "Mesh", "name": "x"}`, `"field": "name"`)
	}
	if strings.Contains(f.log.String(), "\r") {
		t.Errorf("a name broke the log:\n%q", f.log)
	}
}
