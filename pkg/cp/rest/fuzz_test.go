package rest

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/pkg/api"
)

// Methods and types of what FuzzRequest sends, by number.
var (
	fuzzMethods = []string{"GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH", "G\u00e9T"}
	fuzzTypes   = []string{"application/json", "application/yaml", "", "text/plain", "a/b;;"}
)

// FuzzRequest asks as the administrator, who gets everywhere: whatever is
// asked, what goes wrong is the client's fault, and is told as a document.
func FuzzRequest(f *testing.F) {
	add := func(method, path, body string) {
		if i := slices.Index(fuzzMethods, method); i >= 0 {
			f.Add(uint8(i), uint8(0), path, []byte(body))
		}
	}
	for _, path := range slices.Sorted(maps.Keys(shopDocuments)) {
		add("PUT", path, shopDocuments[path])
		add("GET", path+"/_resources/dataplanes?size=1&offset=1&name=a", "")
		add("GET", path+"/_overview", "")
		add("DELETE", path+"?dryRun=true", "")
	}
	for _, path := range []string{
		"/", "/_kri/kri_dp_default_default__web-1_", "/meshes/default/_explain?from=web&to=api&path=/x&header=a:b", "/meshes/default/dataplanes?tag=a:b&gateway=true&filter[labels.a]=b",
		"/meshes/default/dataplanes/web-1/_config?shadow=true&include=diff", "/meshes/default/dataplanes/web-1/stats?usedonly=false&format=json", "/service-insights?type=internal,external",
		"/meshes/default/timeouts/t1?format=kubernetes&namespace=a",
	} {
		add("GET", path, "")
	}
	add("POST", "/_weft/diff", "---\ntype: Mesh\nname: a\n---\ntype: Zone\nname: b\n")
	add("POST", "/meshes/default/_diff", dataplane("a", "web"))
	add("POST", "/tokens/dataplane", `{"name": "a", "mesh": "default", "tags": {"kuma.io/service": ["web"]}, "validFor": "1h"}`)
	add("POST", "/tokens/zone", `{"zone": "east", "scope": ["ingress"]}`)
	add("POST", "/tokens/user", `{"name": "joe", "groups": ["a"], "validFor": "1h"}`)
	var c *fixture
	var h http.Handler // made once: it describes every route
	f.Fuzz(func(t *testing.T, method, contentType uint8, path string, body []byte) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return // the server itself answers that
		}
		if fresh := newUnserved(t); c == nil {
			c, h = fresh, fresh.Handler()
		} else {
			*c.Server, c.log = *fresh.Server, fresh.log
		}
		for _, seed := range []string{"/meshes/default/dataplanes/web-1", "/meshes/default/dataplanes/api-1", "/meshes/default/timeouts/t1", "/meshes/default/traffic-permissions/allow"} {
			serve(h, "PUT", &url.URL{Path: seed}, fuzzTypes[0], []byte(shopDocuments[seed]))
		}
		w := serve(h, fuzzMethods[int(method)%len(fuzzMethods)], u, fuzzTypes[int(contentType)%len(fuzzTypes)], body)
		if w.Code >= http.StatusInternalServerError || w.Code < http.StatusOK {
			t.Errorf("answered %d:\n%s\n%s", w.Code, w.Body, c.log)
		}
		if w.Code >= http.StatusBadRequest && w.Header().Get("Content-Type") == typeJSON {
			var doc api.Error
			if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || doc.Status != w.Code || doc.Title == "" || doc.Detail == "" {
				t.Errorf("%d is no error document: %v\n%s", w.Code, err, w.Body)
			}
		}
		if log := c.log.String(); strings.Contains(log, "panicked") {
			t.Error(log)
		}
	})
}

func serve(h http.Handler, method string, u *url.URL, contentType string, body []byte) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, &http.Request{
		Method: method, URL: u, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: "cp", RemoteAddr: "192.0.2.1:1", RequestURI: u.RequestURI(),
		Header: http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {contentType}}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	})
	return w
}
