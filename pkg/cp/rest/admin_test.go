package rest

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
)

// TestViews asks what Envoy says of itself, in all ways in which clients do.
func TestViews(t *testing.T) {
	said := strings.Repeat(`{"configs": []}`, 1000)
	var asked string
	f := newFixture(t, func(s *Server) {
		s.Ask = func(_ context.Context, mesh, name string, q *hostv1.Question) ([]byte, error) {
			asked = strings.ReplaceAll(mesh+" "+name+" "+prototext.MarshalOptions{}.Format(q), "  ", " ")
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			_, err := io.WriteString(z, said)
			if err == nil {
				err = z.Close()
			}
			return b.Bytes(), err
		}
	})
	f.shop(t)
	const web = "/meshes/default/dataplanes/web-1"
	for _, c := range []struct{ path, asked, contentType string }{
		{"/xds", "about:CONFIG_DUMP json:true", "application/json"},
		{"/xds?include_eds=true", "about:CONFIG_DUMP endpoints:true json:true", "application/json"},
		{"/xds?include_eds=false", "about:CONFIG_DUMP json:true", "application/json"},
		{"/stats", "about:STATS", "text/plain; charset=utf-8"},
		{"/stats?usedonly=false&format=text", "about:STATS all:true", "text/plain; charset=utf-8"},
		{"/stats?format=json", "about:STATS json:true", "application/json"},
		{"/clusters?format=json", "about:CLUSTERS json:true", "application/json"},
		{"/clusters", "about:CLUSTERS", "text/plain; charset=utf-8"},
	} {
		for _, encoding := range []string{"", "gzip, br", "gzip;q=0", "identity"} {
			resp, body := f.request(t, "GET", web+c.path, "", "Accept-Encoding", encoding)
			if packed := resp.header.Get("Content-Encoding") == "gzip"; packed != (encoding == "gzip, br") {
				t.Errorf("%s: Accept-Encoding %q is answered by Content-Encoding %q", c.path, encoding, resp.header.Get("Content-Encoding"))
			} else if packed {
				z, err := gzip.NewReader(strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(z)
				if err != nil {
					t.Fatal(err)
				}
				body = string(text)
			}
			if resp.status != http.StatusOK || body != said || resp.header.Get("Content-Type") != c.contentType {
				t.Errorf("%s: %d %s, %d bytes", c.path, resp.status, resp.header.Get("Content-Type"), len(body))
			}
		}
		if want := "default web-1 " + c.asked; asked != want {
			t.Errorf("%s: asked %q, want %q", c.path, asked, want)
		}
	}
	f.want(t, 400, "GET", web+"/stats?format=prometheus", "", `"field": "format"`, "text or json")
	f.want(t, 400, "GET", web+"/xds?include_eds=perhaps", "", `"field": "include_eds"`)
	f.want(t, 400, "GET", web+"/stats?usedonly=3&format=x", "", `"field": "usedonly"`)
	f.want(t, 404, "GET", "/meshes/default/dataplanes/absent/xds", "", "Not found")
	f.want(t, 400, "GET", "/zone-ingresses/in/xds", "", "do not join yet")
}
