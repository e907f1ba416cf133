//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/weft-mesh/weft/internal/testmesh"
)

// A span is what Zipkin's version 2 says of one, as far as tests ask.
type span struct {
	TraceID, ID, ParentID, Kind string
	Shared                      bool
	LocalEndpoint               struct{ ServiceName string }
	Tags                        map[string]string
}

// side names where a span was made: "web CLIENT".
func (s span) side() string { return s.LocalEndpoint.ServiceName + " " + s.Kind }

// A spanCollector keeps what is sent to it, as Zipkin or Datadog would.
type spanCollector struct {
	mu       sync.Mutex
	spans    []span
	protobuf int
	datadog  bytes.Buffer
	from     map[string]bool // x-forwarded-client-cert of who sent
	fault    error
}

func (c *spanCollector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.from == nil {
		c.from = map[string]bool{}
	}
	c.from[r.Header.Get("x-forwarded-client-cert")] = true
	switch {
	case err != nil:
		c.fault = err
	case strings.HasSuffix(r.URL.Path, "/traces"):
		c.datadog.Write(body)
		_, _ = io.WriteString(w, "{}")
		return
	case r.Header.Get("Content-Type") == "application/x-protobuf":
		c.protobuf += len(body)
	case r.URL.Path == "/api/v2/spans":
		var spans []span
		if err := json.Unmarshal(body, &spans); err != nil {
			c.fault = fmt.Errorf("%w in %s", err, body)
		}
		c.spans = append(c.spans, spans...)
	}
	w.WriteHeader(http.StatusAccepted)
}

// of returns the spans of calls of one path, by trace and then by side.
func (c *spanCollector) of(t *testing.T, path string) map[string]map[string]span {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fault != nil {
		t.Fatal(c.fault)
	}
	traces := map[string]map[string]span{}
	for _, s := range c.spans {
		if !strings.HasSuffix(s.Tags["http.url"], path) {
			continue
		}
		if traces[s.TraceID] == nil {
			traces[s.TraceID] = map[string]span{}
		}
		traces[s.TraceID][s.side()] = s
	}
	return traces
}

func TestTracing(t *testing.T) {
	t.Parallel() // it waits most of the time
	m := testmesh.New(t)
	web, api, db := m.Join(t, "web"), m.Join(t, "api"), m.Join(t, "db")
	outside := m.Net.Host("outside")
	collector := &spanCollector{}
	testmesh.Serve(t, outside, "0.0.0.0:9411", collector)
	testmesh.Serve(t, db.Host, "127.0.0.1:8080", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "db") }))
	m.Allow(t, "web", "api")
	m.Allow(t, "api", "db")
	// A workload that hands on what traces are joined by, as workloads have to.
	onwards := api.Transport(t, "db.mesh")
	testmesh.Serve(t, api.Host, "127.0.0.1:8080", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://db.mesh"+r.URL.Path, nil)
		if err != nil {
			t.Error(err)
			return
		}
		for k, v := range r.Header {
			if strings.HasPrefix(k, "X-B3-") || k == "X-Request-Id" {
				out.Header[k] = v
			}
		}
		resp, err := onwards.RoundTrip(out)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}))
	web.WaitAnswer(t, "http://api.mesh/")
	calls := web.Transport(t, "api.mesh")
	call := func(t *testing.T, path string, n int) {
		t.Helper()
		if answers := testmesh.Call(t, calls, "http://api.mesh"+path, n); answers["200"] != n {
			t.Errorf("answers %v", answers)
		}
	}
	m.Apply(t, "type: TrafficTrace\nmesh: default\nname: all\nselectors: [{match: {kuma.io/service: '*'}}]\n")
	zipkin := func(t *testing.T, more string) {
		t.Helper()
		meshWith(t, m, fmt.Sprintf("tracing:\n  defaultBackend: z\n  backends:\n  - name: z\n    type: zipkin\n    %s\n", strings.ReplaceAll(more, "ADDRESS", outside.IP4.String())))
	}
	// reached waits until the proxies report as they are told now: n traces of
	// calls of a path, each with spans of every side.
	reached := func(t *testing.T, path string, ok func(map[string]span) bool) (trace map[string]span) {
		t.Helper()
		testmesh.Eventually(t, "a whole trace arrives", func() error {
			call(t, path, 5)
			traces := collector.of(t, path)
			for _, tr := range traces {
				if len(tr) == 4 && ok(tr) {
					trace = tr
					return nil
				}
			}
			return fmt.Errorf("there are %d traces, and not one as it should be", len(traces))
		})
		return trace
	}
	whole := func(map[string]span) bool { return true }

	t.Run("turned on under load, spans of a call are joined at every hop", func(t *testing.T) {
		load := testmesh.StartLoad(t, calls, "http://api.mesh/load", 100)
		zipkin(t, "conf: {url: 'http://ADDRESS:9411/api/v2/spans', sharedSpanContext: false}")
		tr := reached(t, "/joined", whole)
		if answers := load.Stop(); answers["200"] != answers.Total() {
			t.Errorf("answers %v", answers)
		}
		out, in, next, last := tr["web CLIENT"], tr["api SERVER"], tr["api CLIENT"], tr["db SERVER"]
		if out.ParentID != "" || in.ParentID != out.ID || next.ParentID != in.ID || last.ParentID != next.ID {
			t.Errorf("spans are not joined:\nweb out %+v\napi in  %+v\napi out %+v\ndb in   %+v", out, in, next, last)
		}
		if len(out.TraceID) != 16 {
			t.Errorf("trace %q has not 64 bits", out.TraceID)
		}
		for _, s := range tr {
			if s.Tags["http.status_code"] != "200" || s.Tags["http.method"] != "GET" {
				t.Errorf("span %+v", s)
			}
		}
	})
	t.Run("both ends of a call are one span", func(t *testing.T) {
		zipkin(t, "conf: {url: 'http://ADDRESS:9411/api/v2/spans', traceId128bit: true}")
		tr := reached(t, "/shared", func(tr map[string]span) bool {
			return tr["api SERVER"].Shared && tr["db SERVER"].Shared && len(tr["api SERVER"].TraceID) == 32
		})
		out, in, next, last := tr["web CLIENT"], tr["api SERVER"], tr["api CLIENT"], tr["db SERVER"]
		if in.ID != out.ID || next.ParentID != in.ID || last.ID != next.ID {
			t.Errorf("spans are not joined:\nweb out %+v\napi in  %+v\napi out %+v\ndb in   %+v", out, in, next, last)
		}
	})
	t.Run("a part is sampled, and those traces are whole", func(t *testing.T) {
		zipkin(t, "sampling: 20\n    conf: {url: 'http://ADDRESS:9411/api/v2/spans'}")
		reached(t, "/part", func(tr map[string]span) bool { return len(tr["api SERVER"].TraceID) == 16 })
		calls.CloseIdleConnections() // those of before the change are only drained
		const n = 1500
		call(t, "/share", n)
		call(t, "/flush", 100) // for what waits for company
		var traces int
		testmesh.Eventually(t, "sampled traces are whole", func() error {
			whole := 0
			all := collector.of(t, "/share")
			for _, tr := range all {
				if len(tr) == 4 {
					whole++
				}
			}
			if whole != len(all) || whole == 0 {
				return fmt.Errorf("%d of %d", whole, len(all))
			}
			traces = whole
			return nil
		})
		if share := 100 * float64(traces) / n; share < 15 || share > 25 {
			t.Errorf("%.1f %% of %d calls are traced, want about 20", share, n)
		}
	})
	t.Run("by protobuf", func(t *testing.T) {
		zipkin(t, "conf: {url: 'http://ADDRESS:9411/api/v2/spans', apiVersion: httpProto}")
		testmesh.Eventually(t, "spans arrive", func() error {
			call(t, "/protobuf", 10)
			collector.mu.Lock()
			defer collector.mu.Unlock()
			if collector.protobuf == 0 {
				return errors.New("none")
			}
			return nil
		})
	})
	t.Run("to Datadog, by direction", func(t *testing.T) {
		meshWith(t, m, fmt.Sprintf("tracing:\n  defaultBackend: d\n  backends:\n  - {name: d, type: datadog, conf: {address: %s, port: 9411, splitService: true}}\n", outside.IP4))
		testmesh.Eventually(t, "traces arrive", func() error {
			call(t, "/datadog", 10)
			collector.mu.Lock()
			defer collector.mu.Unlock()
			for _, service := range []string{"web_OUTBOUND_api", "api_INBOUND", "api_OUTBOUND_db", "db_INBOUND"} {
				if !bytes.Contains(collector.datadog.Bytes(), []byte(service)) {
					return fmt.Errorf("none of %s", service)
				}
			}
			return nil
		})
	})
	t.Run("to a service of the mesh, as whom they are", func(t *testing.T) {
		inside := m.Join(t, "zipkin")
		own := &spanCollector{}
		testmesh.Serve(t, inside.Host, "127.0.0.1:8080", own)
		m.Allow(t, "web", "zipkin")
		zipkin(t, "conf: {url: 'http://zipkin.mesh:80/api/v2/spans'}")
		testmesh.Eventually(t, "spans arrive", func() error {
			call(t, "/inside", 10)
			if len(own.of(t, "/inside")) == 0 {
				return errors.New("none")
			}
			return nil
		})
		for who := range own.from {
			if !strings.Contains(who, "URI=spiffe://default/web") {
				t.Errorf("spans came from %q", who)
			}
		}
	})
	t.Run("a collector that is away hinders nobody", func(t *testing.T) {
		zipkin(t, "conf: {url: 'http://ADDRESS:9/api/v2/spans'}")
		call(t, "/away", 500)
		web.WaitWell(t)
	})
}
