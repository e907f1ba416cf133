package rest

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func TestOrigins(t *testing.T) {
	f := newFixture(t, func(s *Server) {
		s.Origins = []*regexp.Regexp{regexp.MustCompile(`https://(a|b)[.]example[.]com`)}
	})
	for origin, allowed := range map[string]bool{
		"https://a.example.com": true, "https://b.example.com": true, "https://c.example.com": false, "null": false,
		"https://a.example.com.evil.example": false, "http://evil.example/https://a.example.com": false, "http://a.example.com": false,
	} {
		for _, method := range []string{"GET", "OPTIONS"} {
			headers := []string{"Origin", origin}
			if method == "OPTIONS" { // as browsers ask, without a credential
				headers = append(headers, "Access-Control-Request-Method", "PUT", "Authorization", "")
			}
			resp, body := f.request(t, method, "/meshes", "", headers...)
			want := http.StatusOK
			if method == "OPTIONS" {
				if want = http.StatusUnauthorized; allowed {
					want = http.StatusNoContent
				}
			}
			if got := resp.header.Get("Access-Control-Allow-Origin"); resp.status != want || (got == origin) != allowed || !allowed && got != "" {
				t.Errorf("%s from %s: %d, allows %q: %s", method, origin, resp.status, got, body)
			}
			if resp.header.Get("Access-Control-Allow-Credentials") != "" || !strings.Contains(strings.Join(resp.header.Values("Vary"), ","), "Origin") {
				t.Errorf("%s from %s: %v", method, origin, resp.header)
			}
		}
	}
	// Without origins browsers are told nothing.
	f = newFixture(t)
	if resp, _ := f.request(t, "GET", "/meshes", "", "Origin", "https://a.example.com"); resp.header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("an origin is allowed that nobody named")
	}
}

func TestBasePath(t *testing.T) {
	f := newFixture(t)
	f.shop(t)
	srv := httptest.NewServer(Under("/mesh/api/", f.Handler()))
	defer srv.Close()
	f.url = srv.URL
	f.want(t, 200, "GET", "/mesh/api", "", `"product": "Kuma"`)
	f.want(t, 200, "GET", "/mesh/api/", "", `"product": "Kuma"`)
	f.want(t, 200, "GET", "/mesh/api/meshes/default/dataplanes?size=1", "", srv.URL+"/mesh/api/meshes/default/dataplanes?offset=1&size=1")
	f.want(t, 404, "GET", "/meshes", "", "below /mesh/api")
	f.want(t, 404, "GET", "/mesh/apis", "", "below /mesh/api")
	f.want(t, 404, "GET", "/mesh/api/../meshes", "")
	f.want(t, 404, "GET", "/%6desh/api%2Fmeshes", "")
}

func TestWhatIsNotThere(t *testing.T) {
	f := newFixture(t, func(s *Server) { s.Zone = "east" })
	f.shop(t)
	f.want(t, 201, "PUT", "/zones/west", `{"type": "Zone", "name": "west"}`)
	for _, path := range []string{"/gui", "/gui/", "/gui/meshes/default"} {
		f.want(t, 404, "GET", path, "", "has no GUI", "weftctl")
	}
	f.want(t, 404, "GET", "/versions", "")
	f.want(t, 200, "GET", "/status/zones", "", "[\n {\n  \"name\": \"east\",\n  \"active\": true\n }", `"name": "west",`, `"active": false`)
}
