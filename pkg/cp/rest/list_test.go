package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/pkg/api"
)

// listed returns the names of a page.
func (f *fixture) listed(t *testing.T, path string) (names []string, page api.Page) {
	t.Helper()
	if err := json.Unmarshal([]byte(f.want(t, 200, "GET", path, "")), &page); err != nil {
		t.Fatal(err)
	}
	for _, item := range page.Items {
		var doc struct{ Name string }
		if err := json.Unmarshal(item, &doc); err != nil {
			t.Fatal(err)
		}
		names = append(names, doc.Name)
	}
	return names, page
}

func TestPages(t *testing.T) {
	f := newFixture(t)
	var want []string
	for i := range 105 {
		name := fmt.Sprintf("dp-%03d", i)
		want = append(want, name)
		f.want(t, 201, "PUT", "/meshes/default/dataplanes/"+name, dataplane(name, "web"))
	}
	for _, start := range []string{
		"/meshes/default/dataplanes", "/dataplanes?size=10", "/dataplanes?tag=version:v1&size=50&name=dp", "/dataplanes?size=1000",
	} {
		var got []string
		for path := start; ; {
			names, page := f.listed(t, path)
			if got = append(got, names...); page.Total != len(want) {
				t.Fatalf("%s: total %d, want %d", path, page.Total, len(want))
			}
			if page.Next == nil {
				break
			}
			next, ok := strings.CutPrefix(*page.Next, f.url)
			if !ok {
				t.Fatalf("next is %s, want it under %s", *page.Next, f.url)
			}
			path = next
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("pages from %s differ (-want +got):\n%s", start, d)
		}
	}
	if names, page := f.listed(t, "/dataplanes?offset=500"); len(names) != 0 || page.Next != nil {
		t.Errorf("beyond the end: %v, next %v", names, page.Next)
	}
}

func TestNextKeepsTheQuery(t *testing.T) {
	f := newFixture(t)
	f.want(t, 201, "PUT", "/meshes/second", `{"type": "Mesh", "name": "second"}`)
	if _, page := f.listed(t, "/meshes?size=1&name=e"); *page.Next != f.url+"/meshes?name=e&offset=1&size=1" {
		t.Errorf("next is %s", *page.Next)
	}
	r := httptest.NewRequest(http.MethodGet, "https://cp.example:5682/meshes?name=a+b", nil) // has TLS set
	if got, want := nextURL(r, r.URL.Query(), 7), "https://cp.example:5682/meshes?name=a+b&offset=7"; got != want {
		t.Errorf("next is %s, want %s", got, want)
	}
}

func TestFilters(t *testing.T) {
	f := newFixture(t)
	f.want(t, 201, "PUT", "/meshes/second", `{"type": "Mesh", "name": "second"}`)
	put := func(in, name, body string) {
		f.want(t, 201, "PUT", "/meshes/"+in+"/dataplanes/"+name, fmt.Sprintf(body, in, name))
	}
	put("default", "web-1", `{"type": "Dataplane", "mesh": %q, "name": %q, "labels": {"team": "a", "tier": "front"}, "networking": {"address": "192.0.2.1",
		"inbound": [{"port": 80, "tags": {"kuma.io/service": "web", "version": "v1"}}, {"port": 81, "tags": {"kuma.io/service": "admin", "version": "v2"}}]}}`)
	put("default", "api-1", `{"type": "Dataplane", "mesh": %q, "name": %q, "labels": {"team": "a"}, "networking": {"address": "192.0.2.2",
		"inbound": [{"port": 80, "tags": {"kuma.io/service": "api", "version": "v2"}}]}}`)
	put("default", "gw-1", `{"type": "Dataplane", "mesh": %q, "name": %q, "networking": {"address": "192.0.2.3", "gateway": {"tags": {"kuma.io/service": "gw"}}}}`)
	put("default", "gw-2", `{"type": "Dataplane", "mesh": %q, "name": %q, "networking": {"address": "192.0.2.4", "gateway": {"type": "BUILTIN", "tags": {"kuma.io/service": "gw"}}}}`)
	put("second", "web-2", `{"type": "Dataplane", "mesh": %q, "name": %q, "networking": {"address": "192.0.2.1",
		"inbound": [{"port": 80, "tags": {"kuma.io/service": "web"}}]}}`)
	for query, want := range map[string][]string{
		"":                      {"api-1", "gw-1", "gw-2", "web-1", "web-2"},
		"name=web":              {"web-1", "web-2"},
		"name=WEB":              nil,
		"filter[labels.team]=a": {"api-1", "web-1"},
		"filter[labels.team]=a&filter[labels.tier]=front": {"web-1"},
		"filter[labels.kuma.io/mesh]=second":              {"web-2"},
		"tag=kuma.io/service:we":                          {"web-1", "web-2"},
		"tag=kuma.io/service:web&tag=version:v1":          {"web-1"},
		"tag=kuma.io/service:web&tag=version:v2":          nil, // on one inbound, not on two
		"tag=*:v2":                                        {"api-1", "web-1"},
		"tag=version":                                     {"api-1", "web-1"},
		"tag=kuma.io/service:gw":                          {"gw-1", "gw-2"},
		"gateway=true":                                    {"gw-1", "gw-2"},
		"gateway=builtin":                                 {"gw-2"},
		"gateway=delegated":                               {"gw-1"},
		"gateway=false&name=1":                            {"api-1", "web-1"},
		"gateway=true&size=1&offset=1":                    {"gw-2"},
		"ingress=false&unknown=x":                         {"api-1", "gw-1", "gw-2", "web-1", "web-2"},
	} {
		t.Run(query, func(t *testing.T) {
			values, err := url.ParseQuery(query)
			if err != nil {
				t.Fatal(err)
			}
			if names, _ := f.listed(t, "/dataplanes?"+values.Encode()); !cmp.Equal(names, want) {
				t.Errorf("listed %v, want %v", names, want)
			}
		})
	}
}

func TestBadQueries(t *testing.T) {
	f := newFixture(t)
	for query, words := range map[string][]string{
		"size=0":                     {"Invalid page size", `"field": "size"`, "from 1 to 1000"},
		"size=-1":                    {"Invalid page size"},
		"size=1001":                  {"Invalid page size", "Maximum page size is 1000"},
		"size=":                      {"Invalid page size"},
		"size=99999999999999999999":  {"Invalid page size"},
		"offset=-1":                  {"Invalid query parameter", `"field": "offset"`},
		"offset=x":                   {`"field": "offset"`},
		"offset=9223372036854775807": {`"field": "offset"`},
		"filter%5Bname%5D=x":         {`"field": "filter[name]"`, "labels only"},
		"filter%5Blabels.%5D=x":      {"labels only"},
		"filter%5Blabels.a=x":        {"labels only"},
		"filter%5Blabels.a%5D=x&filter%5Blabels.a%5D=y": {"one value"},
		"gateway=maybe": {`"field": "gateway"`, "builtin"},
	} {
		t.Run(query, func(t *testing.T) {
			f.want(t, 400, "GET", "/meshes/default/dataplanes?"+query, "", append(words, "Could not retrieve resources")...)
		})
	}
}
