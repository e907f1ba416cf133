package rest

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/pkg/api"
)

func (f *fixture) description(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData([]byte(f.want(t, 200, "GET", "/openapi.json", "")))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// The document is one of OpenAPI, and has what is served and nothing else.
func TestOpenAPI(t *testing.T) {
	f := newFixture(t)
	doc := f.description(t)
	if err := doc.Validate(t.Context()); err != nil {
		t.Errorf("the document is not valid: %v", err)
	}
	served := map[string]bool{}
	for _, r := range f.routes() {
		method, path, _ := strings.Cut(strings.ReplaceAll(strings.TrimSuffix(r.pattern, "{$}"), "...}", "}"), " ")
		served[method+" "+path] = true
		if item := doc.Paths.Value(path); item == nil || item.GetOperation(method) == nil {
			t.Errorf("%s is served and not described", r.pattern)
		}
	}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			if !served[method+" "+path] {
				t.Errorf("%s %s is described and not served", method, path)
			}
		}
	}
}

// What is sent and answered for a resource of every kind is as it is
// described.
func TestAnswersAreAsDescribed(t *testing.T) {
	f := newFixture(t)
	doc := f.description(t)
	doc.Servers = openapi3.Servers{{URL: f.url}}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../../docs/examples/*.yaml")
	if err != nil || len(files) < 40 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r, err := api.Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		body, err := yaml.YAMLToJSON(data)
		if err != nil {
			t.Fatal(err)
		}
		items := "/" + r.Kind.Path
		if r.Meta.Mesh != "" {
			items = "/meshes/" + r.Meta.Mesh + items
		}
		f.compared(t, router, "PUT", items+"/"+r.Meta.Name, body)
		f.compared(t, router, "GET", items+"/"+r.Meta.Name, nil)
		f.compared(t, router, "GET", items+"?size=10&filter[labels.a]=b", nil)
		f.compared(t, router, "DELETE", items+"/no-such", nil)
	}
}

// compared sends a request and holds it and the answer against the
// description.
func (f *fixture) compared(t *testing.T, router routers.Router, method, path string, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, f.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	route, params, err := router.FindRoute(req)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
		return
	}
	input := &openapi3filter.RequestValidationInput{
		Request: req, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	if err := openapi3filter.ValidateRequest(t.Context(), input); err != nil {
		t.Errorf("%s %s is not as described: %v", method, path, err)
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body != nil && resp.StatusCode >= 300 {
		text, _ := io.ReadAll(resp.Body)
		t.Errorf("%s %s: %d %s", method, path, resp.StatusCode, text)
		return
	}
	err = openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: resp.StatusCode, Header: resp.Header, Body: resp.Body,
	})
	if err != nil {
		t.Errorf("the answer to %s %s is not as described: %v", method, path, err)
	}
}
