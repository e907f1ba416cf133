package render_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// Ports of the inbounds of the world's server.
const (
	open       = 8001 + iota // http, strict: web
	tagged                   // http, strict: web in env prod
	mistagged                // http, strict: web in env test
	nobody                   // http, strict: nobody
	stream                   // tcp, strict: everybody of the mesh
	permissive               // http, permissive: web
	plainHTTP                // http, no mTLS
)

// A world is two real Envoys: a server's, with a port for every kind of
// access, and that of the client "web".
type world struct {
	server  netip.Addr // the server's inbounds
	client  netip.Addr // the client's outbounds, on the same ports
	ca      *authority
	foreign *authority
	seen    chan *http.Request // what the workload was asked
}

func (w *world) inbound(port uint16) string  { return netip.AddrPortFrom(w.server, port).String() }
func (w *world) outbound(port uint16) string { return netip.AddrPortFrom(w.client, port).String() }

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		server: ownAddress(t), client: ownAddress(t),
		ca: newAuthority(t), foreign: newAuthority(t), seen: make(chan *http.Request, 100),
	}
	workload := httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(workload.Close)
	echo := echoServer(t)

	web := proxy.Principal{URIs: []string{"spiffe://default/web"}}
	type port struct {
		port           uint16
		protocol, mode string
		allow          []proxy.Principal
	}
	ports := []port{
		{open, proxy.HTTP, proxy.Strict, []proxy.Principal{{URIs: []string{"spiffe://default/other"}}, web}},
		{tagged, proxy.HTTP, proxy.Strict, []proxy.Principal{{URIs: []string{"kuma://env/prod", "spiffe://default/web"}}}},
		{mistagged, proxy.HTTP, proxy.Strict, []proxy.Principal{{URIs: []string{"kuma://env/test", "spiffe://default/web"}}}},
		{nobody, proxy.HTTP, proxy.Strict, nil},
		{stream, proxy.TCP, proxy.Strict, []proxy.Principal{{}}},
		{permissive, proxy.HTTP, proxy.Permissive, []proxy.Principal{web}},
		{plainHTTP, proxy.HTTP, proxy.Plain, nil},
	}
	server := &proxy.Config{ID: proxy.ID{Mesh: "default", Name: "api-1"}, Identity: &proxy.Identity{TrustDomain: "default"}}
	client := &proxy.Config{ID: proxy.ID{Mesh: "default", Name: "web-1"}, Identity: &proxy.Identity{TrustDomain: "default"}}
	var endpoints []proxy.Endpoints
	for _, p := range ports {
		service := fmt.Sprintf("api-%d", p.port)
		to := netip.MustParseAddrPort(workload.Listener.Addr().String())
		if p.protocol == proxy.TCP {
			to = echo
		}
		listen := netip.AddrPortFrom(w.server, p.port)
		server.Inbounds = append(server.Inbounds, proxy.Inbound{
			Name: fmt.Sprint(p.port), Listen: listen, Workload: to, Service: service, Protocol: p.protocol,
			Access: proxy.Access{Mode: p.mode, Policy: "policy-" + service, Allow: p.allow},
		})
		client.Outbounds = append(client.Outbounds, proxy.Outbound{
			Name: service, Service: service, Protocol: p.protocol,
			Listen: []netip.AddrPort{netip.AddrPortFrom(w.client, p.port)}, Routes: everythingTo(service),
		})
		cluster := proxy.Cluster{Name: service, Service: service, HTTP2: true}
		if p.mode != proxy.Plain {
			cluster.TLS = &proxy.PeerTLS{PeerURI: "spiffe://default/api", SNI: service + "{mesh=default}"}
		}
		client.Clusters = append(client.Clusters, cluster)
		endpoints = append(endpoints, proxy.Endpoints{Cluster: service, Members: []proxy.Endpoint{{Address: listen}}})
	}
	// A service whose endpoint is not who it should be, and one without any.
	for port, name := range map[uint16]string{9001: "impostor", 9002: "empty"} {
		client.Outbounds = append(client.Outbounds, proxy.Outbound{
			Name: name, Service: name, Protocol: proxy.HTTP,
			Listen: []netip.AddrPort{netip.AddrPortFrom(w.client, port)}, Routes: everythingTo(name),
		})
		client.Clusters = append(client.Clusters, proxy.Cluster{
			Name: name, Service: name, HTTP2: true, TLS: &proxy.PeerTLS{PeerURI: "spiffe://default/" + name, SNI: name},
		})
	}
	endpoints = append(endpoints,
		proxy.Endpoints{Cluster: "impostor", Members: []proxy.Endpoint{{Address: netip.AddrPortFrom(w.server, open)}}},
		proxy.Endpoints{Cluster: "empty"})

	runEnvoy(t, server, nil, w.ca.secrets(t, "default", w.ca.certificate(t, "spiffe://default/api", "kuma://kuma.io/service/api")))
	runEnvoy(t, client, endpoints, w.ca.secrets(t, "default", w.ca.certificate(t,
		"kuma://env/prod", "kuma://kuma.io/service/web", "spiffe://default/web")))
	return w
}

// serve is the workload.
func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	w.seen <- r
	if r.Header.Get("Upgrade") != "websocket" {
		rw.Header().Set("Server", "workload")
		_, _ = io.WriteString(rw, "hello")
		return
	}
	rw.Header().Set("Upgrade", "websocket")
	rw.Header().Set("Connection", "Upgrade")
	rw.WriteHeader(http.StatusSwitchingProtocols)
	conn, rest, err := rw.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.Copy(conn, rest)
}

func echoServer(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

// get asks url, with a connection of its own, and returns status and body.
func get(t *testing.T, c *http.Client, url string, header http.Header) (string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		req.Header = header
	}
	resp, err := c.Do(req)
	if err != nil {
		return "error: " + err.Error(), nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "error: " + err.Error(), nil
	}
	return fmt.Sprint(resp.StatusCode, " ", string(body)), resp.Header
}

func plainClient() *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
}

// peer is a caller with its own TLS, from an address outside of what Envoy
// might take for internal.
func peer(c tls.Certificate, change func(*tls.Config)) *http.Client {
	cfg := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"kuma"}}
	if c.Certificate != nil {
		cfg.Certificates = []tls.Certificate{c}
	}
	if change != nil {
		change(cfg)
	}
	dialer := &tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 9, 9, 9)}}, Config: cfg}
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true, DialTLSContext: dialer.DialContext}}
}

func TestTraffic(t *testing.T) {
	w := newWorld(t)
	asked := func(t *testing.T) *http.Request {
		t.Helper()
		select {
		case r := <-w.seen:
			return r
		case <-time.After(time.Minute):
			t.Fatal("the workload was not asked")
			return nil
		}
	}
	notAsked := func(t *testing.T) {
		t.Helper()
		if len(w.seen) > 0 {
			t.Errorf("the workload was asked %v", (<-w.seen).URL)
		}
	}

	t.Run("a call arrives with its caller's identity", func(t *testing.T) {
		got, header := get(t, plainClient(), "http://"+w.outbound(open), http.Header{
			"X-Forwarded-Client-Cert": {"URI=spiffe://default/admin"},
			"X-Kuma-Tags":             {"&team=admin&"},
		})
		if got != "200 hello" {
			t.Fatalf("answer %q", got)
		}
		if header.Get("Server") != "workload" {
			t.Errorf("server %q, want the workload's own word", header.Get("Server"))
		}
		r := asked(t)
		cert := r.Header.Get("X-Forwarded-Client-Cert")
		if !strings.HasSuffix(cert, ";URI=kuma://env/prod;URI=kuma://kuma.io/service/web;URI=spiffe://default/web") {
			t.Errorf("x-forwarded-client-cert %q does not end in the caller's URIs", cert)
		}
		if strings.Contains(cert, "admin") {
			t.Errorf("x-forwarded-client-cert %q: what the caller wrote was believed", cert)
		}
		if tags := r.Header.Values("X-Kuma-Tags"); len(tags) > 0 {
			t.Errorf("the workload sees x-kuma-tags %q", tags)
		}
	})

	for _, tt := range []struct {
		name string
		port uint16
		want string // of the status
	}{
		{"all tags of a principal fit", tagged, "200 hello"},
		{"one tag of a principal does not fit", mistagged, "503 "},
		{"nobody is allowed", nobody, "503 "},
		{"permissive takes mTLS", permissive, "200 hello"},
		{"no mTLS at all", plainHTTP, "200 hello"},
		{"the peer is not who it should be", 9001, "503 "},
		{"a service without endpoints", 9002, "503 no healthy upstream"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := get(t, plainClient(), "http://"+w.outbound(tt.port), nil)
			if !strings.HasPrefix(got, tt.want) {
				t.Errorf("answer %q, want %q", got, tt.want)
			}
			if strings.HasPrefix(tt.want, "200") {
				asked(t)
			}
			notAsked(t)
		})
	}

	t.Run("bytes", func(t *testing.T) {
		conn := dial(t, w.outbound(stream))
		if got, err := exchange(conn, "hello\n"); err != nil || got != "hello\n" {
			t.Errorf("got %q, %v", got, err)
		}
	})

	t.Run("a WebSocket", func(t *testing.T) {
		conn := dial(t, w.outbound(open))
		fmt.Fprint(conn, "GET /ws HTTP/1.1\r\nHost: api\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		in := bufio.NewReader(conn)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("answer %s", resp.Status)
		}
		asked(t)
		fmt.Fprint(conn, "hello\n")
		if got, err := in.ReadString('\n'); err != nil || got != "hello\n" {
			t.Errorf("got %q, %v", got, err)
		}
	})

	web := w.ca.certificate(t, "spiffe://default/web", "kuma://env/prod")
	t.Run("callers of all sorts", func(t *testing.T) {
		for _, tt := range []struct {
			name string
			c    *http.Client
			port uint16
			in   bool
		}{
			{"allowed", peer(web, nil), open, true},
			{"allowed, to a permissive port", peer(web, nil), permissive, true},
			{"plaintext", plainClient(), open, false},
			{"plaintext, to a permissive port", plainClient(), permissive, true},
			{"not allowed", peer(w.ca.certificate(t, "spiffe://default/intruder"), nil), open, false},
			{"not allowed, to a permissive port", peer(w.ca.certificate(t, "spiffe://default/intruder"), nil), permissive, false},
			{"a longer name", peer(w.ca.certificate(t, "spiffe://default/web2"), nil), open, false},
			{"tags without the service", peer(w.ca.certificate(t, "kuma://env/prod", "spiffe://default/intruder"), nil), tagged, false},
			{"another trust domain", peer(w.ca.certificate(t, "spiffe://elsewhere/web"), nil), open, false},
			{"a trust domain that begins alike", peer(w.ca.certificate(t, "spiffe://default2/web"), nil), open, false},
			{"another authority", peer(w.foreign.certificate(t, "spiffe://default/web"), nil), open, false},
			{"no certificate", peer(tls.Certificate{}, nil), open, false},
			{"TLS 1.2", peer(web, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), open, false},
			{"P-256 key agreement", peer(web, func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP256} }), open, false},
		} {
			t.Run(tt.name, func(t *testing.T) {
				scheme := "https"
				if strings.HasPrefix(tt.name, "plaintext") {
					scheme = "http"
				}
				got, _ := get(t, tt.c, scheme+"://"+w.inbound(tt.port), nil)
				if in := got == "200 hello"; in != tt.in {
					t.Errorf("answer %q, want in %v", got, tt.in)
				}
				if tt.in {
					asked(t)
				}
				notAsked(t)
			})
		}
	})

	t.Run("key agreement is post-quantum and sessions are not resumed", func(t *testing.T) {
		cfg := &tls.Config{
			InsecureSkipVerify: true, Certificates: []tls.Certificate{web}, ClientSessionCache: tls.NewLRUClientSessionCache(8),
			ServerName: "api",
		}
		for range 3 {
			conn, err := tls.Dial("tcp", w.inbound(stream), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := exchange(conn, "hello\n"); err != nil || got != "hello\n" { // by now a ticket would have come
				t.Fatalf("got %q, %v", got, err)
			}
			state := conn.ConnectionState()
			if state.CurveID != tls.X25519MLKEM768 || state.Version != tls.VersionTLS13 || state.DidResume {
				t.Errorf("curve %s, version %x, resumed %v", state.CurveID, state.Version, state.DidResume)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		}
	})

	t.Run("nobody outside steers Envoy by headers", func(t *testing.T) {
		for _, from := range [][]string{nil, {"127.0.0.1"}, {"10.0.0.1"}, {"203.0.113.1, 127.0.0.1"}, {"255.255.255.255"}} {
			header := http.Header{
				"X-Forwarded-For":                        from,
				"X-Envoy-Retry-On":                       {"5xx"},
				"X-Envoy-Max-Retries":                    {"50"},
				"X-Envoy-Upstream-Rq-Timeout-Ms":         {"1"},
				"X-Envoy-Internal":                       {"true"},
				"X-Envoy-Decorator-Operation":            {"x"},
				"X-Envoy-Original-Path":                  {"/x"},
				"X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms": {"1"},
				"X-Envoy-Force-Trace":                    {"true"},
				"X-Envoy-Downstream-Service-Cluster":     {"admin"},
				"X-Envoy-Expected-Rq-Timeout-Ms":         {"7"},
				"X-Envoy-External-Address":               {"203.0.113.9"},
				"X-Envoy-Upstream-Stream-Duration-Ms":    {"1"},
				"X-Envoy-Hedge-On-Per-Try-Timeout":       {"true"},
				"X-Envoy-Retriable-Status-Codes":         {"200"},
			}
			got, _ := get(t, peer(web, nil), "https://"+w.inbound(open), header)
			if got != "200 hello" {
				t.Fatalf("answer %q", got)
			}
			for name, values := range asked(t).Header {
				if strings.HasPrefix(name, "X-Envoy-") {
					t.Errorf("from %q the workload sees %s: %q", from, name, values)
				}
			}
		}
	})

	t.Run("paths are normalised before the workload", func(t *testing.T) {
		conn := dial(t, w.outbound(open))
		fmt.Fprint(conn, "GET /public/..//admin/%2e%2e/a%2Fb HTTP/1.1\r\nHost: api\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if got := asked(t).RequestURI; got != "/a%2Fb" {
			t.Errorf("the workload is asked for %q", got)
		}
	})
}

// dial connects for 10 s at most.
func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// exchange writes text and reads as much.
func exchange(conn net.Conn, text string) (string, error) {
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return "", err
	}
	_, err := io.WriteString(conn, text)
	back := make([]byte, len(text))
	n, readErr := io.ReadFull(conn, back)
	return string(back[:n]), errors.Join(err, readErr)
}
