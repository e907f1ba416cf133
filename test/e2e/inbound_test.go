//go:build linux

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/internal/testtime"
)

// A workshop is a mesh in which web (version v1) and db call api, by HTTP, and
// web calls db, by gRPC; and an outsider on the same segment.
type workshop struct {
	*testmesh.Mesh
	web, db, api *testmesh.Host
	safe         *testmesh.Host // its workload speaks TLS
	isPermissive bool
	outside      *testnet.Host
	fromWeb      *http.Transport
	fromDB       *http.Transport
	served       atomic.Int64                // requests that api's workload saw
	seen         atomic.Pointer[http.Header] // of the last one
}

// TestInboundPolicies has faults, rate limits and modes of mTLS act on traffic.
func TestInboundPolicies(t *testing.T) {
	w := openWorkshop(t)
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"nobody calls anybody unasked", w.denied},
		{"rate limits", w.limits},
		{"faults", w.faults},
		{"gRPC", w.rpc},
		{"a delegated gateway", w.gateway},
		{"constraints", w.constraints},
		{"changes under load", w.load},
		{"permissive", w.permissive},
		{"no mTLS", w.plain},
	} {
		if !t.Run(step.name, step.run) {
			t.FailNow()
		}
	}
}

func openWorkshop(t *testing.T) *workshop {
	w := &workshop{Mesh: testmesh.New(t)}
	// With one worker they have one connection to api's Envoy, see turn.
	w.web = w.Join(t, "web", "--tag", "version=v1", "--drain-time", "1s", "--envoy-concurrency", "1")
	w.db = w.Join(t, "db", "--protocol", "grpc", "--drain-time", "1s", "--envoy-concurrency", "1")
	w.api = w.Join(t, "api", "--drain-time", "1s")
	w.safe = w.Join(t, "safe", "--protocol", "tls")
	w.outside = w.Net.Host("outside")
	echoTLS(t, w.safe)
	testmesh.Serve(t, w.api.Host, "127.0.0.1:8080", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.served.Add(1)
		w.seen.Store(&r.Header)
		n := 2
		if r.URL.Path == "/big" {
			n = 192 << 10
		}
		_, _ = rw.Write(bytes.Repeat([]byte("x"), n))
	}))
	testmesh.Serve(t, w.db.Host, "127.0.0.1:8080", http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/grpc")
		rw.Header().Set("Trailer", "Grpc-Status")
		rw.WriteHeader(http.StatusOK)
		rw.Header().Set("Grpc-Status", "0")
	}))
	w.fromWeb = w.web.Transport(t, "api.mesh", "db.mesh")
	w.fromDB = w.db.Transport(t, "api.mesh")
	return w
}

// echoTLS is a workload that ends TLS itself and sends back what it gets.
func echoTLS(t *testing.T, h *testmesh.Host) {
	t.Helper()
	l := tls.NewListener(h.Listen(t, "127.0.0.1:8080").TCPListener, &tls.Config{Certificates: []tls.Certificate{*forged(t, "https://safe.example")}})
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
}

// ask sends one request and returns status, headers and how long it took.
func ask(t *testing.T, rt http.RoundTripper, url string, header http.Header) (status int, got http.Header, took time.Duration) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		req.Header = header
	}
	start := time.Now()
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return 0, http.Header{"Error": {err.Error()}}, time.Since(start)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, http.Header{"Error": {err.Error()}}, time.Since(start)
	}
	return resp.StatusCode, resp.Header, time.Since(start)
}

// wantAnswers compares counts.
func wantAnswers(t *testing.T, who string, got, want testmesh.Answers) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s got %v, want %v", who, got, want)
	}
}

// turn makes a change and waits until calls meet it: a connection that is open
// when a listener changes carries one more call by the old one, by which the
// caller's Envoy learns that it has to open another. call sends that call.
func turn(t *testing.T, call func(), change func(), h *testmesh.Host, words, gone []string) {
	t.Helper()
	call() // may be the last of an old connection
	call()
	change()
	told(t, h, words, gone)
	call()
}

// told waits until a host's Envoy works by inbound listeners in which all of
// words stand and none of gone.
func told(t *testing.T, h *testmesh.Host, words, gone []string) {
	t.Helper()
	listens(t, h, "INBOUND", words, gone)
}

// listens is told for the listeners of a direction.
func listens(t *testing.T, h *testmesh.Host, direction string, words, gone []string) {
	t.Helper()
	admin := func(path string) string {
		return h.Run(t, "curl", "--silent", "--unix-socket", filepath.Join(h.Dir, "run", "envoy", "admin.sock"), "http://envoy"+path)
	}
	testmesh.Eventually(t, fmt.Sprintf("Envoy of %s knows %q and no %q", h.Name, words, gone), func() error {
		var dump struct {
			Configs []struct {
				ActiveState json.RawMessage `json:"active_state"`
			}
		}
		if err := json.Unmarshal([]byte(admin("/config_dump?resource=dynamic_listeners")), &dump); err != nil {
			return err
		}
		var text strings.Builder
		for _, c := range dump.Configs {
			var compact bytes.Buffer
			if c.ActiveState == nil || json.Compact(&compact, c.ActiveState) != nil {
				continue
			}
			if strings.Contains(compact.String(), `"traffic_direction":"`+direction+`"`) {
				text.Write(compact.Bytes())
			}
		}
		for _, word := range words {
			if !strings.Contains(text.String(), word) {
				return fmt.Errorf("%q is not in %s", word, text.String())
			}
		}
		for _, word := range gone {
			if strings.Contains(text.String(), word) {
				return fmt.Errorf("%q is still there", word)
			}
		}
		return nil
	})
}

// showing calls a host's own port by TLS with a certificate, from outside of
// any mesh.
func showing(t *testing.T, from *testnet.Host, c *tls.Certificate) *http.Transport {
	t.Helper()
	cfg := &tls.Config{
		InsecureSkipVerify: true, NextProtos: []string{"kuma"},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c, nil },
	}
	tr := &http.Transport{
		DialContext: func(_ context.Context, network, address string) (net.Conn, error) {
			return from.TryDial(network, address)
		},
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			raw, err := from.TryDial(network, address)
			if err != nil {
				return nil, err
			}
			conn := tls.Client(raw, cfg)
			return conn, conn.HandshakeContext(ctx)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// direct are the URLs of api's own port.
func (w *workshop) direct(scheme string) string {
	return scheme + "://" + w.api.IP4.String() + ":8080/"
}

const (
	apiURL = "http://api.mesh/"
	// asDB is what a workload writes to be taken for db.
	asDB = "&kuma.io/service=db&"
)

func saying(tags string) http.Header {
	return http.Header{"X-Kuma-Tags": {tags}, "X-Forwarded-Client-Cert": {"By=spiffe://default/api;URI=spiffe://default/db;URI=kuma://kuma.io/service/db"}}
}

// both has web and db call api once.
func (w *workshop) both(t *testing.T) func() {
	return func() {
		ask(t, w.fromWeb, apiURL, nil)
		ask(t, w.fromDB, apiURL, nil)
	}
}

func (w *workshop) denied(t *testing.T) {
	wantAnswers(t, "web", testmesh.Call(t, w.fromWeb, apiURL, 20), testmesh.Answers{"503": 20})
	if n := w.served.Load(); n != 0 {
		t.Errorf("the workload saw %d requests", n)
	}
	w.Apply(t, `type: TrafficPermission
mesh: default
name: to-api
sources: [{match: {kuma.io/service: web}}, {match: {kuma.io/service: db}}]
destinations: [{match: {kuma.io/service: api}}]
---
type: TrafficPermission
mesh: default
name: to-db
sources: [{match: {version: v1}}]
destinations: [{match: {kuma.io/service: db}}, {match: {kuma.io/service: safe}}]
`)
	w.web.WaitAnswer(t, apiURL)
	w.db.WaitAnswer(t, apiURL)
	w.ownTLS(t)
}

// limits has callers known by any of their tags, whatever they say.
func (w *workshop) limits(t *testing.T) {
	limits := `type: RateLimit
mesh: default
name: v1
sources: [{match: {version: v1}}]
destinations: [{match: {kuma.io/service: api}}]
conf: {http: {requests: 50, interval: 1h, onRateLimit: {status: 423, headers: [{key: x-limit, value: 50%}]}}}
---
type: RateLimit
mesh: default
name: db
sources: [{match: {kuma.io/service: db}}]
destinations: [{match: {kuma.io/service: api}}]
conf: {http: {requests: 20, interval: 1h}}
`
	turn(t, w.both(t), func() { w.Apply(t, limits) }, w.api, []string{`"max_tokens":50`, `"max_tokens":20`}, nil)
	before := w.served.Load()
	for range 10 { // none of these is db's
		if status, _, _ := ask(t, w.fromWeb, apiURL, saying(asDB)); status != http.StatusOK {
			t.Errorf("status %d", status)
		}
	}
	wantAnswers(t, "web", testmesh.Call(t, w.fromWeb, apiURL, 70), testmesh.Answers{"200": 40, "423": 30})
	wantAnswers(t, "db", testmesh.Call(t, w.fromDB, apiURL, 40), testmesh.Answers{"200": 20, "429": 20})
	if n := w.served.Load() - before; n != 70 {
		t.Errorf("the workload saw %d requests, want 70", n)
	}
	if status, h, _ := ask(t, w.fromWeb, apiURL, nil); status != 423 || h.Get("X-Limit") != "50%" {
		t.Errorf("over the limit: %d, %v", status, h)
	}
	if tags, cert := w.seen.Load().Values("X-Kuma-Tags"), w.seen.Load().Get("X-Forwarded-Client-Cert"); tags != nil || !strings.Contains(cert, "URI=spiffe://default/db") {
		t.Errorf("the workload saw tags %q, certificate %q", tags, cert)
	}
	t.Run("whoever holds a host's key is that host", func(t *testing.T) {
		if status, h, _ := ask(t, showing(t, w.outside, pair(t, w.web, "workload")), w.direct("https"), saying(asDB)); status != 423 {
			t.Errorf("status %d, %v", status, h)
		}
	})
	t.Run("whoever holds none is nobody", func(t *testing.T) {
		if status, h, _ := ask(t, showing(t, w.outside, nil), w.direct("http"), saying(asDB)); status != 0 {
			t.Errorf("status %d, %v", status, h)
		}
	})
	w.Ctl(t, "delete", "rate-limit", "v1")
	w.Ctl(t, "delete", "rate-limit", "db")
}

func (w *workshop) faults(t *testing.T) {
	faults := `type: FaultInjection
mesh: default
name: slow
sources: [{match: {kuma.io/service: '*', version: v1}}]
destinations: [{match: {kuma.io/service: api, kuma.io/protocol: http}}]
conf: {delay: {percentage: 100, value: 200ms}, responseBandwidth: {percentage: 100, limit: 1 mbps}}
---
type: FaultInjection
mesh: default
name: broken
sources: [{match: {kuma.io/service: db}}]
destinations: [{match: {kuma.io/protocol: http}}]
conf: {abort: {percentage: 30, httpStatus: 418}}
`
	turn(t, w.both(t), func() { w.Apply(t, faults) }, w.api, []string{`"http_status":418`, `"fixed_delay":"0.200s"`}, []string{"max_tokens"})
	for range 5 {
		status, _, took := ask(t, w.fromWeb, apiURL, saying(asDB))
		if status != http.StatusOK || took < 190*time.Millisecond || took > testtime.Wait {
			t.Errorf("web got %d after %s, want 200 after 200ms", status, took)
		}
	}
	// 192 KiB at 1 Mbit/s are 1.57 s, of which the delay has saved some.
	if status, _, took := ask(t, w.fromWeb, apiURL+"big", nil); status != http.StatusOK || took < 1200*time.Millisecond || took > testtime.Wait {
		t.Errorf("web got %d after %s, want 200 after 1.5 s", status, took)
	}
	const n = 2000 // 30 % are 600, with a standard deviation of 20
	start, before := time.Now(), w.served.Load()
	got := testmesh.Call(t, w.fromDB, apiURL, n)
	if took := time.Since(start); took > n/8*200*time.Millisecond {
		t.Errorf("db's calls are slow too: %d took %s", n, took)
	}
	if aborted := got["418"]; got["200"]+aborted != n || aborted < 500 || aborted > 700 || w.served.Load()-before != int64(got["200"]) {
		t.Errorf("db got %v, the workload saw %d", got, w.served.Load()-before)
	}
	turn(t, w.both(t), func() {
		w.Ctl(t, "delete", "fault-injection", "slow")
		w.Ctl(t, "delete", "fault-injection", "broken")
	}, w.api, nil, []string{"http_status", "fixed_delay"})
	wantAnswers(t, "db", testmesh.Call(t, w.fromDB, apiURL, 100), testmesh.Answers{"200": 100})
}

// rpc calls a service of protocol grpc.
func (w *workshop) rpc(t *testing.T) {
	h2 := w.web.Transport(t, "db.mesh")
	h2.Protocols = new(http.Protocols)
	h2.Protocols.SetUnencryptedHTTP2(true)
	invoke := func() string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://db.mesh/a.Service/Call", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/grpc")
		resp, err := h2.RoundTrip(req)
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.Header.Get("Grpc-Status") + resp.Trailer.Get("Grpc-Status")
	}
	testmesh.Eventually(t, "db answers", func() error {
		if got := invoke(); got != "0" {
			return fmt.Errorf("grpc-status %s", got)
		}
		return nil
	})
	turn(t, func() { invoke() }, func() {
		w.Apply(t, `type: RateLimit
mesh: default
name: rpc
sources: [{match: {version: '*'}}]
destinations: [{match: {kuma.io/protocol: grpc}}]
conf: {http: {requests: 5, interval: 1h}}
`)
	}, w.db, []string{`"max_tokens":5`}, nil)
	var got []string
	for range 8 {
		got = append(got, invoke())
	}
	if text := strings.Join(got, " "); text != "0 0 0 0 0 8 8 8" {
		t.Errorf("grpc-status %s, want five of 0 and then 8, resource exhausted", text)
	}
	w.Ctl(t, "delete", "rate-limit", "rpc")
}

// gateway has the outsider call api through a gateway of the mesh, which is a
// reverse proxy that knows nothing of it.
func (w *workshop) gateway(t *testing.T) {
	edge := w.Join(t, "edge", "--gateway", "--port", "0", "--tag", "team=shop")
	testmesh.Serve(t, edge.Host, edge.IP4.String()+":8000", &httputil.ReverseProxy{
		Transport: edge.Transport(t, "api.mesh"),
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: "api.mesh"}) },
		ErrorLog:  log.New(io.Discard, "", 0),
	})
	outsider, at := showing(t, w.outside, nil), "http://"+edge.IP4.String()+":8000/"
	if status, h, _ := ask(t, outsider, at, saying(asDB)); status != http.StatusServiceUnavailable {
		t.Errorf("before anybody let the gateway in: status %d, %v", status, h)
	}
	w.Apply(t, `type: TrafficPermission
mesh: default
name: to-api
sources: [{match: {kuma.io/service: web}}, {match: {kuma.io/service: db}}, {match: {team: shop}}]
destinations: [{match: {kuma.io/service: api}}]
---
type: RateLimit
mesh: default
name: shop
sources: [{match: {team: shop}}]
destinations: [{match: {kuma.io/service: api}}]
conf: {http: {requests: 7, interval: 1h}}
`)
	told(t, w.api, []string{"kuma://team/shop", `"max_tokens":7`}, nil)
	wantAnswers(t, "the outsider", testmesh.Call(t, outsider, at, 10), testmesh.Answers{"200": 7, "429": 3})
	if cert := w.seen.Load().Get("X-Forwarded-Client-Cert"); !strings.Contains(cert, "URI=spiffe://default/edge") {
		t.Errorf("the workload saw certificate %q", cert)
	}
	if status, h, _ := ask(t, outsider, at, saying(asDB)); status != http.StatusTooManyRequests {
		t.Errorf("saying that he is db, the outsider got %d, %v", status, h)
	}
	if out := w.Ctl(t, "get", "dataplane", "edge-1", "-o", "yaml"); !strings.Contains(out, "DELEGATED") || strings.Contains(out, "inbound") {
		t.Errorf("the gateway is\n%s", out)
	}
	if out, err := edge.Agent(t, "status"); err != nil || !strings.Contains(out, "gateway edge") {
		t.Errorf("status: %v\n%s", err, out)
	}
	w.Ctl(t, "delete", "rate-limit", "shop")
}

// constraints keep a host out whose tags the mesh does not want, and leave
// those that are in it alone.
func (w *workshop) constraints(t *testing.T) {
	const strict = `mtls: {enabledBackend: ca-1, backends: [{name: ca-1, type: builtin}]}`
	w.mode(t, strict+`
constraints:
  dataplaneProxy:
    requirements: [{tags: {kuma.io/service: '*', team: '*'}}, {tags: {kuma.io/service: web}}]
    restrictions: [{tags: {team: banned}}]
`)
	for tags, want := range map[string]string{
		"":                  "the mesh takes only dataplanes with the tags {kuma.io/service=*, team=*} or {kuma.io/service=web}",
		"--tag=team=banned": "the mesh takes no dataplanes with the tags {team=banned}",
	} {
		h := w.NewHost(t, "newcomer")
		h.JoinMesh(t, w.JoinToken(t, "newcomer"), strings.Fields(tags)...)
		p := h.StartAgent(t)
		testmesh.Eventually(t, "the newcomer is told why it is kept out", func() error {
			if out := p.Output(); !strings.Contains(out, want) {
				return fmt.Errorf("its agent said %s", out)
			}
			return nil
		})
		if out, err := w.TryCtl(t, "get", "dataplane", "newcomer-1"); err == nil {
			t.Errorf("the newcomer is in the mesh:\n%s", out)
		}
	}
	wantAnswers(t, "web", testmesh.Call(t, w.fromWeb, apiURL, 20), testmesh.Answers{"200": 20})
	w.mode(t, strict)
}

// load changes every policy while calls go on.
func (w *workshop) load(t *testing.T) {
	const (
		limit = `type: RateLimit
mesh: default
name: wide
sources: [{match: {kuma.io/service: '*'}}]
destinations: [{match: {kuma.io/service: api}}]
conf: {http: {requests: %d, interval: 1s}}
`
		fault = `type: FaultInjection
mesh: default
name: some
sources: [{match: {kuma.io/service: web}}]
destinations: [{match: {kuma.io/service: api, kuma.io/protocol: http}}]
conf: {%s}
`
	)
	web, db := testmesh.StartLoad(t, w.fromWeb, apiURL, 200), testmesh.StartLoad(t, w.fromDB, apiURL, 200)
	more := func() { // calls go on by what is in force now
		before := w.served.Load()
		testmesh.Eventually(t, "calls go on", func() error {
			if n := w.served.Load() - before; n < 300 {
				return fmt.Errorf("%d of 300", n)
			}
			return nil
		})
	}
	more()
	w.Apply(t, fmt.Sprintf(limit, 100_000))
	told(t, w.api, []string{`"max_tokens":100000`}, nil)
	more()
	w.Apply(t, fmt.Sprintf(limit, 200_000))
	w.Apply(t, fmt.Sprintf(fault, "delay: {percentage: 100, value: 10ms}"))
	told(t, w.api, []string{`"max_tokens":200000`, `"fixed_delay":"0.010s"`}, nil)
	more()
	w.Apply(t, fmt.Sprintf(fault, "abort: {percentage: 50, httpStatus: 418}"))
	told(t, w.api, []string{`"http_status":418`}, []string{"fixed_delay"})
	more()
	w.Apply(t, fmt.Sprintf(fault, "responseBandwidth: {percentage: 100, limit: 10mbps}"))
	w.Ctl(t, "delete", "rate-limit", "wide")
	told(t, w.api, []string{"response_rate_limit"}, []string{"max_tokens", "http_status"})
	more()
	w.Ctl(t, "delete", "fault-injection", "some")
	told(t, w.api, nil, []string{"response_rate_limit"})
	more()
	got := web.Stop()
	if got["200"] == 0 || got["418"] == 0 || got["200"]+got["418"] != got.Total() {
		t.Errorf("web got %v, want 200 and 418 alone", got)
	}
	if other := db.Stop(); other["200"] == 0 || other["200"] != other.Total() {
		t.Errorf("db got %v, want 200 alone", other)
	}
	t.Logf("web %v", got)
}

func (w *workshop) mode(t *testing.T, mtls string) {
	t.Helper()
	w.Apply(t, "type: Mesh\nname: default\n"+mtls)
}

// permissive takes plain calls beside mTLS, and the workload's own TLS.
func (w *workshop) permissive(t *testing.T) {
	w.Apply(t, `type: RateLimit
mesh: default
name: web
sources: [{match: {kuma.io/service: web}}]
destinations: [{match: {kuma.io/service: api}}]
conf: {http: {requests: 2, interval: 1h}}
---
type: RateLimit
mesh: default
name: everybody
sources: [{match: {kuma.io/service: '*'}}]
destinations: [{match: {kuma.io/service: api}}]
conf: {http: {requests: 5, interval: 1h, onRateLimit: {status: 503}}}
`)
	w.mode(t, `mtls: {enabledBackend: ca-1, backends: [{name: ca-1, type: builtin, mode: PERMISSIVE}]}`)
	w.isPermissive = true
	told(t, w.api, []string{"raw_buffer", `"max_tokens":5`}, nil)
	told(t, w.safe, []string{"raw_buffer"}, nil)
	plain, web := showing(t, w.outside, nil), showing(t, w.outside, pair(t, w.web, "workload"))
	asWeb := http.Header{"X-Kuma-Tags": {"&kuma.io/service=web&"}, "X-Forwarded-Client-Cert": {"URI=spiffe://default/web;URI=kuma://kuma.io/service/web"}}
	var byPlain, byTLS []int
	for i := range 7 {
		status, _, _ := ask(t, plain, w.direct("http"), asWeb)
		byPlain = append(byPlain, status)
		if h := w.seen.Load(); i == 0 && (h.Values("X-Kuma-Tags") != nil || h.Values("X-Forwarded-Client-Cert") != nil) {
			t.Errorf("a plain caller made the workload see %v", h)
		}
		status, _, _ = ask(t, web, w.direct("https"), nil)
		byTLS = append(byTLS, status)
		if h := w.seen.Load(); i == 0 && !strings.Contains(h.Get("X-Forwarded-Client-Cert"), "URI=spiffe://default/web") {
			t.Errorf("a caller by mTLS made the workload see %v", h)
		}
	}
	if got := fmt.Sprint(byPlain); got != "[200 200 200 200 200 503 503]" {
		t.Errorf("a plain caller who says that he is web got %s; want the limit of everybody", got)
	}
	if got := fmt.Sprint(byTLS); got != "[200 200 429 429 429 429 429]" {
		t.Errorf("web by mTLS beside it got %s; want its own limit", got)
	}
	t.Run("who may not call by mTLS still may not", func(t *testing.T) {
		if status, h, _ := ask(t, showing(t, w.outside, pair(t, w.api, "workload")), w.direct("https"), nil); status != 0 {
			t.Errorf("status %d, %v", status, h)
		}
	})
	t.Run("a member calls in plain, as everybody", func(t *testing.T) {
		testmesh.Eventually(t, "web meets the limit of everybody, which is used up", func() error {
			if status, h, _ := ask(t, w.fromWeb, apiURL, nil); status != http.StatusServiceUnavailable {
				return fmt.Errorf("status %d, %v", status, h)
			}
			return nil
		})
	})
	w.ownTLS(t)
}

// ownTLS calls a workload that speaks TLS itself: in mTLS by web, and in a
// permissive mesh by the outsider too.
func (w *workshop) ownTLS(t *testing.T) {
	client := &tls.Config{InsecureSkipVerify: true, ServerName: "safe.example"}
	echo := func(from *testnet.Host, address string) string {
		raw, err := from.TryDial("tcp", address)
		if err != nil {
			return err.Error()
		}
		defer raw.Close()
		_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
		c := tls.Client(raw, client)
		if _, err := io.WriteString(c, "hello"); err != nil {
			return err.Error()
		}
		answer := make([]byte, 5)
		n, err := io.ReadFull(c, answer)
		if err != nil {
			return string(answer[:n]) + err.Error()
		}
		return string(answer) + " from " + c.ConnectionState().PeerCertificates[0].URIs[0].String()
	}
	const want = "hello from https://safe.example"
	at := net.JoinHostPort(w.web.Resolve(t, "safe.mesh").String(), "80")
	testmesh.Eventually(t, "safe answers web", func() error {
		if got := echo(w.web.Host, at); got != want {
			return fmt.Errorf("web got %q", got)
		}
		return nil
	})
	got := echo(w.outside, w.safe.IP4.String()+":8080")
	if permissive := w.isPermissive; permissive != (got == want) {
		t.Errorf("permissive: %t, and the outsider got %q", permissive, got)
	}
}

// plain believes what callers' proxies say: in a mesh without mTLS there is
// nothing else. What workloads say is still overwritten.
func (w *workshop) plain(t *testing.T) {
	turn(t, w.both(t), func() {
		w.mode(t, "")
		listens(t, w.web, "OUTBOUND", []string{"kuma.io/service=web"}, nil) // from now on it says who it is,
		w.fromWeb.CloseIdleConnections()                                    // on new connections
	}, w.api, []string{`"header_name":"x-kuma-tags"`, `"max_tokens":5`}, []string{"raw_buffer"})
	var got []int
	for range 4 {
		status, _, _ := ask(t, w.fromWeb, apiURL, saying(asDB))
		got = append(got, status)
	}
	if text := fmt.Sprint(got); text != "[200 200 429 429]" {
		t.Errorf("web, whose workload says that it is db, got %s; want its own limit", text)
	}
	if h := w.seen.Load(); h.Values("X-Kuma-Tags") != nil {
		t.Errorf("the workload saw %v", h)
	}
	plain := showing(t, w.outside, nil)
	got = nil
	for range 7 {
		status, _, _ := ask(t, plain, w.direct("http"), nil)
		got = append(got, status)
	}
	if text := fmt.Sprint(got); text != "[200 200 200 200 200 503 503]" {
		t.Errorf("the outsider got %s; want the limit of everybody", text)
	}
}
