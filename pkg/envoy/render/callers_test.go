package render_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// doomed are those whom an inbound aborts with 418: one inbound each.
var doomed = []struct {
	name    string
	callers []proxy.Caller
}{
	{"everybody", nil},
	{"web", []proxy.Caller{{"kuma.io/service": "web"}}},
	{"v1", []proxy.Caller{{"version": "1"}}},
	{"a version", []proxy.Caller{{"version": "*"}}},
	{"web v1", []proxy.Caller{{"kuma.io/service": "web", "version": "1"}}},
	{"web v1 of any team", []proxy.Caller{{"kuma.io/service": "web", "version": "1", "team": "*"}}},
	{"web, or v2", []proxy.Caller{{"kuma.io/service": "web"}, {"version": "2"}}},
	{"a.b", []proxy.Caller{{"zone": "a.b"}}},
	{"tag a", []proxy.Caller{{"a": "*"}}},
}

// TestCallers shows who is matched by which tags, by certificate and by
// header, in the real Envoy.
func TestCallers(t *testing.T) {
	at := ownAddress(t)
	ca := newAuthority(t)
	workload := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		for name, values := range r.Header {
			switch name = strings.ReplaceAll(strings.ToLower(name), "_", "-"); {
			case name == "x-kuma-tags", name == "x-forwarded-client-cert" && (len(values) > 1 || strings.Contains(values[0], "forged")):
				t.Errorf("the workload sees %s %q", name, values)
			}
		}
		_, _ = io.WriteString(rw, "hello")
	}))
	t.Cleanup(workload.Close)
	modes := []string{proxy.Strict, proxy.Permissive, proxy.Plain}
	server := &proxy.Config{ID: proxy.ID{Mesh: "default", Name: "api-1"}, Identity: &proxy.Identity{TrustDomain: "default"}}
	port := func(mode, target int) uint16 { return uint16(8000 + 100*mode + target) }
	for m, mode := range modes {
		for i, d := range doomed {
			server.Inbounds = append(server.Inbounds, proxy.Inbound{
				Name: fmt.Sprint(m, i), Listen: netip.AddrPortFrom(at, port(m, i)), Protocol: proxy.HTTP,
				Workload: netip.MustParseAddrPort(workload.Listener.Addr().String()),
				Access:   proxy.Access{Mode: mode, Policy: "all", Allow: []proxy.Principal{{}}},
				Faults:   []proxy.Fault{{Callers: d.callers, Abort: &proxy.Abort{Percent: 100, Status: 418}}},
			})
		}
	}
	runEnvoy(t, server, nil, ca.secrets(t, "default", ca.certificate(t, "spiffe://default/api")))

	// hit are the inbounds that know the caller.
	hit := func(t *testing.T, mode int, c *http.Client, scheme string, tags ...string) string {
		t.Helper()
		var names []string
		for i, d := range doomed {
			h := http.Header{
				"X_Kuma_Tags": {"forged"}, "X_kuma-tags": {"forged"}, "x-Kuma_Tags": {"forged"},
				"X-Forwarded-Client-Cert": {"URI=spiffe://default/forged"}, "X_Forwarded_Client_Cert": {"URI=spiffe://default/forged"}, "X-Forwarded_Client-Cert": {"URI=spiffe://default/forged"},
			}
			for _, v := range tags {
				h.Add("X-Kuma-Tags", v)
			}
			switch got, _ := get(t, c, fmt.Sprintf("%s://%s", scheme, netip.AddrPortFrom(at, port(mode, i))), h); {
			case strings.HasPrefix(got, "418 "):
				names = append(names, d.name)
			case got != "200 hello":
				t.Errorf("inbound of %s: %q", d.name, got)
			}
		}
		return strings.Join(names, "; ")
	}
	const forged = "&kuma.io/service=web&&team=x&&version=1,2&&zone=a.b&&a=1&"
	callers := []struct {
		name string
		tags []string // in the order of the certificate
		want string
	}{
		{"web v1", []string{"kuma.io/service/web", "version/1"}, "everybody; web; v1; a version; web v1; web, or v2"},
		{"v1 web, the other way round", []string{"version/1", "kuma.io/service/web"}, "everybody; web; v1; a version; web v1; web, or v2"},
		{"web v1 of a team", []string{"kuma.io/service/web", "team/x", "version/1"}, "everybody; web; v1; a version; web v1; web v1 of any team; web, or v2"},
		{"web of both versions", []string{"kuma.io/service/web", "version/1", "version/2"}, "everybody; web; v1; a version; web v1; web, or v2"},
		{"db v2", []string{"kuma.io/service/db", "version/2"}, "everybody; a version; web, or v2"},
		{"longer words", []string{"kuma.io/service/web2", "version/11", "zone/a.bc"}, "everybody; a version"},
		{"words that end alike", []string{"kuma.io/service/xweb", "my-version/1", "zone/aab"}, "everybody"},
		{"a dot is a dot", []string{"kuma.io/service/x", "zone/a-b"}, "everybody"},
		{"a.b", []string{"kuma.io/service/x", "zone/a.b"}, "everybody; a.b"},
		{"tag a/b is not tag a", []string{"kuma.io/service/x", "a/b/c"}, "everybody"},
	}
	for _, c := range callers {
		uris := []string{"spiffe://default/anyone"}
		for _, tag := range c.tags {
			uris = append(uris, "kuma://"+tag)
		}
		client := peer(ca.certificate(t, uris...), nil)
		for m := range 2 {
			t.Run(c.name+", "+modes[m], func(t *testing.T) {
				if got := hit(t, m, client, "https"); got != c.want {
					t.Errorf("known as %q, want %q", got, c.want)
				}
				if got := hit(t, m, client, "https", forged); got != c.want {
					t.Errorf("known as %q when he says that he is another, want %q", got, c.want)
				}
			})
		}
	}
	t.Run("a plain caller is nobody, whatever he says", func(t *testing.T) {
		for _, tags := range [][]string{nil, {forged}, {"", forged}, {forged, forged}} {
			if got := hit(t, 1, plainClient(), "http", tags...); got != "everybody" {
				t.Errorf("saying %q he is known as %q", tags, got)
			}
		}
	})
	for _, c := range []struct {
		name, tags, want string
	}{
		{"no tags", "", "everybody"},
		{"web v1", "&kuma.io/service=web&&version=1&", "everybody; web; v1; a version; web v1; web, or v2"},
		{"web of both versions", "&kuma.io/service=db,web&&version=1,2&", "everybody; web; v1; a version; web v1; web, or v2"},
		{"longer words", "&kuma.io/service=web2&&version=11&&zone=a.bc&", "everybody; a version"},
		{"words that end alike", "&kuma.io/service=xweb&&my-version=1&&zone=aab&", "everybody"},
		{"among others", "&kuma.io/service=a,web2,xweb&&version=21,12&", "everybody; a version"},
		{"a.b", "&zone=a.b&", "everybody; a.b"},
	} {
		t.Run("by header: "+c.name, func(t *testing.T) {
			if got := hit(t, 2, plainClient(), "http", c.tags); got != c.want {
				t.Errorf("known as %q, want %q", got, c.want)
			}
		})
	}
}

// TestSignature shows what a proxy says of its workload, whatever that says.
func TestSignature(t *testing.T) {
	at := ownAddress(t)
	seen := make(chan http.Header, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header }))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	c := &proxy.Config{
		ID:   proxy.ID{Mesh: "default", Name: "web-1"},
		Tags: map[string][]string{"version": {"1", "2"}, "kuma.io/service": {"web"}},
	}
	var endpoints []proxy.Endpoints
	for i, protocol := range []string{proxy.HTTP, proxy.HTTP2, proxy.GRPC} {
		c.Outbounds = append(c.Outbounds, proxy.Outbound{
			Name: protocol, Service: protocol, Protocol: protocol,
			Listen: []netip.AddrPort{netip.AddrPortFrom(at, uint16(8001+i))}, Routes: everythingTo(protocol),
		})
		c.Clusters = append(c.Clusters, proxy.Cluster{Name: protocol, Service: protocol, HTTP2: protocol != proxy.HTTP})
		endpoints = append(endpoints, proxy.Endpoints{Cluster: protocol, Members: []proxy.Endpoint{
			{Address: netip.MustParseAddrPort(server.Listener.Addr().String())},
		}})
	}
	runEnvoy(t, c, endpoints, nil)
	for i, out := range c.Outbounds {
		for _, said := range [][]string{nil, {"&kuma.io/service=admin&"}, {"&kuma.io/service=admin&", "&version=9&"}, {""}} {
			get(t, plainClient(), fmt.Sprintf("http://%s", netip.AddrPortFrom(at, uint16(8001+i))), http.Header{
				"X-Kuma-Tags":             said,
				"X-Forwarded-Client-Cert": {"URI=spiffe://default/admin"},
			})
			select {
			case h := <-seen:
				if got := fmt.Sprint(h.Values("X-Kuma-Tags")); got != "[&kuma.io/service=web&&version=1,2&]" {
					t.Errorf("%s, the workload saying %q: the peer is told %s", out.Protocol, said, got)
				}
				if got := h.Get("X-Forwarded-Client-Cert"); got != "" {
					t.Errorf("%s: the peer is told %q of a certificate", out.Protocol, got)
				}
			case <-time.After(time.Minute):
				t.Fatal("the peer was not called")
			}
		}
	}
}
