package api_test

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// client speaks to a server that answers with h.
func client(t *testing.T, h http.HandlerFunc) *api.Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return newClient(t, api.ClientConfig{Server: srv.URL, Token: "tok"})
}

func newClient(t *testing.T, cfg api.ClientConfig) *api.Client {
	t.Helper()
	c, err := api.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func TestClientGet(t *testing.T) {
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		if got, want := r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization"), "GET /meshes/default/traffic-permissions/a Bearer tok"; got != want {
			t.Errorf("request %q, want %q", got, want)
		}
		fmt.Fprint(w, `{"type":"TrafficPermission","mesh":"default","name":"a","creationTime":"2026-11-23T11:02:16.5Z","modificationTime":"2026-11-23T12:00:00+01:00","later":1,"sources":[{"match":{"a":"b"},"later":2}]}`)
	})
	got, err := c.Get(t.Context(), mesh.TrafficPermissionKind, "default", "a")
	if err != nil {
		t.Fatal(err)
	}
	want := mesh.Resource{
		Kind: mesh.TrafficPermissionKind,
		Meta: mesh.Meta{Mesh: "default", Name: "a", Created: time.Date(2026, 11, 23, 11, 2, 16, 5e8, time.UTC), Modified: time.Date(2026, 11, 23, 11, 0, 0, 0, time.UTC)},
		Spec: &mesh.TrafficPermission{Sources: []mesh.Selector{{Match: mesh.Tags{"a": "b"}}}},
	}
	if diff := cmp.Diff(want, got, sameKind); diff != "" {
		t.Error(diff)
	}
}

func TestClientList(t *testing.T) {
	var asked []string
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Host[:3]+r.URL.RequestURI())
		page := map[string]string{
			"":  `{"total":3,"items":[{"type":"Mesh","name":"a"},{"type":"Mesh","name":"b"}],"next":"http://elsewhere.example/meshes?offset=2"}`,
			"2": `{"total":3,"items":[{"type":"Mesh","name":"c"}],"next":null}`,
		}[r.URL.Query().Get("offset")]
		fmt.Fprint(w, page)
	})
	rs, err := c.List(t.Context(), mesh.MeshKind, "")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range rs {
		names = append(names, r.Meta.Name)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, names); diff != "" {
		t.Error(diff)
	}
	// The second page is asked of our server, wherever next points.
	if diff := cmp.Diff([]string{"127/meshes?size=1000", "127/meshes?offset=2&size=1000"}, asked); diff != "" {
		t.Error(diff)
	}
}

func TestClientListInMeshes(t *testing.T) {
	var asked []string
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		fmt.Fprint(w, `{"total":0,"items":[],"next":null}`)
	})
	for _, m := range []string{"default", ""} {
		if rs, err := c.List(t.Context(), mesh.DataplaneKind, m); err != nil || len(rs) != 0 {
			t.Errorf("%v, %v", rs, err)
		}
	}
	if diff := cmp.Diff([]string{"/meshes/default/dataplanes", "/dataplanes"}, asked); diff != "" {
		t.Error(diff)
	}
}

func TestClientListEndsWhenPagesGoRound(t *testing.T) {
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"total":9,"items":[],"next":"http://x/meshes?offset=5"}`)
	})
	if _, err := c.List(t.Context(), mesh.MeshKind, ""); err == nil || !strings.Contains(err.Error(), "leads nowhere") {
		t.Errorf("error %v", err)
	}
}

func TestClientPut(t *testing.T) {
	var body []byte
	status := http.StatusCreated
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		if got, want := r.Method+" "+r.URL.Path+" "+r.Header.Get("Content-Type"), "PUT /meshes/a application/json"; got != want {
			t.Errorf("request %q, want %q", got, want)
		}
		w.Header().Set("ETag", `"7"`)
		w.WriteHeader(status)
		fmt.Fprint(w, `{"warnings":["w1"]}`)
	})
	r := mesh.Resource{Kind: mesh.MeshKind, Meta: mesh.Meta{Name: "a"}, Spec: &mesh.MeshSpec{}}
	created, result, err := c.Put(t.Context(), r)
	if err != nil || !created || result.Version != 7 || !cmp.Equal(result.Warnings, []string{"w1"}) {
		t.Errorf("created %t, %+v, %v", created, result, err)
	}
	if want, _ := api.Encode(r); string(body) != string(want) {
		t.Errorf("sent %s, want %s", body, want)
	}
	status = http.StatusOK
	if created, _, err := c.Put(t.Context(), r); err != nil || created {
		t.Errorf("created %t, %v; want an update", created, err)
	}
}

func TestClientOtherCalls(t *testing.T) {
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.Method + " " + r.URL.Path {
		case "DELETE /meshes/default/dataplanes/web-1":
			fmt.Fprint(w, `{}`)
		case "POST /tokens/dataplane":
			fmt.Fprintf(w, "token for %s\n", body)
		case "GET /meshes/default/dataplanes/web-1/_stages/plan":
			fmt.Fprint(w, "id: web-1\n")
		case "GET /":
			fmt.Fprint(w, `{"product":"Kuma","version":"2.14.3","instanceId":"i"}`)
		case "GET /_weft/hosts":
			fmt.Fprint(w, `{"addresses":["10.0.0.1:5678"],"authority":"ab"}`)
		default:
			t.Errorf("request %s %s", r.Method, r.URL.Path)
		}
	})
	ctx := t.Context()
	if err := c.Delete(ctx, mesh.DataplaneKind, "default", "web-1"); err != nil {
		t.Error(err)
	}
	token, err := c.DataplaneToken(ctx, api.DataplaneTokenRequest{Name: "n", Mesh: "default", ValidFor: "1h0m0s"})
	if want := `token for {"name":"n","mesh":"default","tags":{},"type":"","workload":"","validFor":"1h0m0s"}`; err != nil || token != want {
		t.Errorf("token %q, %v; want %q", token, err, want)
	}
	if y, err := c.Stage(ctx, "default", "web-1", "plan"); err != nil || string(y) != "id: web-1\n" {
		t.Errorf("stage %q, %v", y, err)
	}
	if i, err := c.Info(ctx); err != nil || i.Product != "Kuma" || i.InstanceID != "i" {
		t.Errorf("info %+v, %v", i, err)
	}
	if h, err := c.Hosts(ctx); err != nil || !cmp.Equal(h, api.Hosts{Addresses: []string{"10.0.0.1:5678"}, Authority: "ab"}) {
		t.Errorf("hosts %+v, %v", h, err)
	}
}

func TestClientErrors(t *testing.T) {
	var answer func(w http.ResponseWriter)
	c := client(t, func(w http.ResponseWriter, r *http.Request) { answer(w) })
	for _, k := range []struct {
		name   string
		answer func(w http.ResponseWriter)
		status int
		text   string
	}{
		{"error document", func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(w).Encode(api.NewError(400, "T", "D", mesh.Violations{{Field: "f", Reason: "r"}}))
		}, 400, "T (D)\n* f: r"},
		{"no document", func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusBadGateway)
			fmt.Fprint(w, "<html>bad gateway")
		}, 502, "The server answered 502 Bad Gateway (<html>bad gateway)"},
		{"redirect", func(w http.ResponseWriter) {
			w.Header().Set("Location", "https://elsewhere.example/")
			w.WriteHeader(http.StatusFound)
		}, 302, "The server answered 302 Found (it points to https://elsewhere.example/; is this a Weft control plane?)"},
	} {
		t.Run(k.name, func(t *testing.T) {
			answer = k.answer
			_, err := c.Get(t.Context(), mesh.MeshKind, "", "a")
			e, ok := errors.AsType[*api.Error](err)
			if !ok || e.Status != k.status || e.Error() != k.text {
				t.Errorf("error %v, want %d %q", err, k.status, k.text)
			}
		})
	}
}

func TestClientOverUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"version":"1"}`) })}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	i, err := newClient(t, api.ClientConfig{Server: "unix://" + path}).Info(t.Context())
	if err != nil || i.Version != "1" {
		t.Errorf("%+v, %v", i, err)
	}
	_, err = newClient(t, api.ClientConfig{Server: "unix://" + path + ".gone"}).Info(t.Context())
	if err == nil || !strings.Contains(err.Error(), path+".gone") || !strings.Contains(err.Error(), "no control plane runs on this host") {
		t.Errorf("error %v", err)
	}
}

func TestClientVerifiesTLS(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"version":"1"}`) }))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	for _, c := range []struct {
		name string
		cfg  api.ClientConfig
		want string // "" is success
	}{
		{"trusted", api.ClientConfig{Server: srv.URL, Roots: roots, Token: "t"}, ""},
		{"authority unknown", api.ClientConfig{Server: srv.URL}, "authority that is not trusted here"},
		{"other authority", api.ClientConfig{Server: srv.URL, Roots: x509.NewCertPool()}, "authority that is not trusted here"},
		{"other name", api.ClientConfig{Server: "https://localhost:" + port, Roots: roots}, "certificate is for other names"},
		{"plain http", api.ClientConfig{Server: "http://127.0.0.1:" + port}, "400 Bad Request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := newClient(t, c.cfg).Info(t.Context())
			if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestClientNamesTheRemedy(t *testing.T) {
	l, err := net.Listen("tcp", "127.7.7.5:0") // an address of its own: on 127.0.0.1 somebody else may soon have the port
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	_ = l.Close()
	_, err = newClient(t, api.ClientConfig{Server: "http://" + closed}).Info(t.Context())
	if err == nil || !strings.Contains(err.Error(), "http://"+closed) || !strings.Contains(err.Error(), "is weft-cp running?") {
		t.Errorf("error %v", err)
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	_, err = newClient(t, api.ClientConfig{Server: strings.Replace(plain.URL, "http:", "https:", 1)}).Info(t.Context())
	if err == nil || !strings.Contains(err.Error(), "that port speaks plain HTTP") {
		t.Errorf("error %v", err)
	}
}

func TestNewClientRefuses(t *testing.T) {
	for server, want := range map[string]string{
		"":                       "is not an address",
		"cp.example:5682":        "is not an address",
		"10.0.0.1:5682":          "is not an address",
		"ftp://cp.example":       "is not an address",
		"https://":               "is not an address",
		"unix://run/api.sock":    "is not an address",
		"https://u:p@cp.example": "holds no user",
		"https://cp.example?a=b": "is not an address",
		"http://10.0.0.1:5681":   "plain text; use https://10.0.0.1:5682",
		"http://[2001:db8::1]:1": "plain text; use https://[2001:db8::1]:5682",
	} {
		_, err := api.NewClient(api.ClientConfig{Server: server, Token: "t"})
		if !errors.Is(err, api.ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", server, err, want)
		}
	}
	for _, server := range []string{"http://localhost:5681", "http://[::1]:5681/base/", "https://10.0.0.1:5682", "unix:///run/weft-cp/api.sock"} {
		if _, err := api.NewClient(api.ClientConfig{Server: server, Token: "t"}); err != nil {
			t.Errorf("%q: %v", server, err)
		}
	}
}
