//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testmesh"
)

// TestResilience has calls fail, and wants what policies say to happen.
func TestResilience(t *testing.T) {
	f := newFleet(t)
	f.run(t, "timeout of a request", f.requestTimeout)
	f.run(t, "timeouts of a stream", f.streamTimeouts)
	f.run(t, "timeout of an idle connection", f.idleTimeout)
	f.run(t, "timeout of a connection that does not come about", f.connectTimeout)
	f.run(t, "retries are counted at the backend", f.retries)
	f.run(t, "retries after a try took too long", f.perTryTimeout)
	f.run(t, "retries of connections that are refused", f.refusedConnections)
	f.run(t, "a health check takes out who fails, and brings him back", f.healthCheck)
	f.run(t, "panic, when all fail a health check", f.panicThreshold)
	f.run(t, "a detector ejects who fails, and he returns", f.ejection)
	f.run(t, "every detector has its own failures", f.detectors)
	f.run(t, "thresholds hold", f.thresholds)
	f.run(t, "policies change under load", f.policiesUnderLoad)
	f.run(t, "what is under way outlives a change", f.outlive)
	f.run(t, "events of health are written down", f.healthEvents)
	f.run(t, "gRPC calls are tried again", f.grpcRetries)
	f.run(t, "connections have timeouts, retries, checks and limits", f.connectionPolicies)
}

// extra adds an endpoint of api at an address where no host is in the mesh, and
// returns what takes it away.
func (f *fleet) extra(t *testing.T, version, address string, port int, protocol string) (undo func()) {
	t.Helper()
	name := "api-" + version
	f.Apply(t, fmt.Sprintf(`type: Dataplane
mesh: default
name: %s
networking:
  address: %s
  inbound: [{port: %d, servicePort: 1, tags: {kuma.io/service: api, kuma.io/protocol: %s, version: %s}}]
`, name, address, port, protocol, version))
	f.awaitStat(t, "cluster.api.membership_total", 4)
	return func() {
		f.Ctl(t, "delete", "dataplane", name)
		f.awaitStat(t, "cluster.api.membership_total", 3)
	}
}

// hole is an address at which nobody answers, not even by refusing.
const hole = "198.51.100.250"

// all has every host of api answer in another way.
func (f *fleet) all(handle http.HandlerFunc) {
	for _, b := range f.api {
		b.does(handle)
	}
}

// total is how many requests for the path came to all hosts.
func (f *fleet) total(path string) (n int) {
	for _, c := range f.counts(path) {
		n += c
	}
	return n
}

// between fails the test unless something took so long. Envoy reads its clock
// once a turn, so that a little less will do.
func between(t *testing.T, what string, took, least, most time.Duration) {
	t.Helper()
	if took < least*9/10 || took > most {
		t.Errorf("%s took %s, want %s to %s", what, took, least, most)
	}
}

// late is how long something may take on a machine that is busy. That it comes
// at all is told by how it ends: what is tested would last for ever else.
const late = 40 * time.Second

// failing answers so many requests of a path with the status, and then well.
func failing(n, status int) http.HandlerFunc {
	var mu sync.Mutex
	seen := map[string]int{}
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if seen[r.URL.Path]++; seen[r.URL.Path] <= n {
			w.WriteHeader(status)
		}
	}
}

// always answers every request with the status.
func always(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

func (f *fleet) policiesUnderLoad(t *testing.T) {
	f.underLoad(t, func() {
		for _, step := range []struct{ kind, conf, name, text string }{
			{"Timeout", "connectTimeout: 3s\nhttp: {requestTimeout: 10s}", "api", `"3s"`},
			{"Timeout", "connectTimeout: 4s\nhttp: {requestTimeout: 11s, idleTimeout: 10m, streamIdleTimeout: 12s, maxStreamDuration: 13s}", "outbound:api", `"13s"`},
			{"Timeout", "", "outbound:api", `!"13s"`},
			{"Retry", "http: {numRetries: 3, retryOn: [all_5xx]}", "outbound:api", `"retry_on":"5xx"`},
			{"Retry", "http: {numRetries: 4, perTryTimeout: 9s}", "outbound:api", `"9s"`},
			{"Retry", "", "outbound:api", `!"retry_on"`},
			{"HealthCheck", "interval: 200ms\ntimeout: 3s\nunhealthyThreshold: 3\nhealthyThreshold: 1\nhttp: {path: /health}", "api", `"/health"`},
			{"HealthCheck", "interval: 300ms\ntimeout: 3s\nunhealthyThreshold: 3\nhealthyThreshold: 1\nhealthyPanicThreshold: 0\ntcp: {}", "api", `"tcp_health_check"`},
			{"HealthCheck", "", "api", `!"health_checks"`},
			{"CircuitBreaker", "detectors: {totalErrors: {}}", "api", `"outlier_detection"`},
			{"CircuitBreaker", "detectors: {gatewayErrors: {}, failure: {}}\nthresholds: {maxRequests: 500}", "api", `"max_requests":500`},
			{"CircuitBreaker", "", "api", `!"outlier_detection"`},
		} {
			if step.conf == "" {
				f.Ctl(t, "delete", step.kind, "moving")
			} else {
				f.put(t, step.kind, "moving", step.conf)
			}
			f.await(t, step.name, step.text)
		}
	})
}

// outlive wants what is under way to end well, though the listener by which it
// came has changed.
func (f *fleet) outlive(t *testing.T) {
	f.all(func(_ http.ResponseWriter, r *http.Request) { pause(r.Context(), 7*time.Second) })
	defer f.all(nil)
	done := make(chan response, 1)
	path := newPath()
	go func() {
		r, err := f.try(t, "GET", path, nil)
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	testmesh.Eventually(t, "the request is under way", func() error {
		if f.total(path) == 0 {
			return errors.New("it is not")
		}
		return nil
	})
	defer f.policy(t, "Timeout", "t", "http: {idleTimeout: 10m}")()
	f.await(t, f.listener, `"idle_timeout":"600s"`)
	if r := <-done; r.status != http.StatusOK || f.total(path) != 1 {
		t.Errorf("answer %d after %s and %d calls", r.status, r.took, f.total(path))
	}
}

// connectionPolicies has api speak TCP.
func (f *fleet) connectionPolicies(t *testing.T) {
	f.protocol(t, "http", "tcp")
	defer f.protocol(t, "tcp", "http")
	t.Run("idle", func(t *testing.T) {
		defer f.policy(t, "Timeout", "t", "tcp: {idleTimeout: 700ms}")()
		f.await(t, f.listener, `"idle_timeout":"0.700s"`)
		between(t, "the end of an idle connection", f.closes(t), 700*time.Millisecond, late)
	})
	t.Run("retries", func(t *testing.T) {
		defer f.extra(t, "dead", f.CP.IP4.String(), 9, "tcp")()
		tr := f.web.Transport(t, "api.mesh")
		tr.DisableKeepAlives = true
		if got := testmesh.Call(t, tr, fleetURL+"/", 80); got["200"] != 60 {
			t.Errorf("with one of four endpoints dead, answers %v of 80", got)
		}
		defer f.policy(t, "Retry", "r", "tcp: {maxConnectAttempts: 10}")()
		f.await(t, f.listener, `"max_connect_attempts":10`)
		if got := testmesh.Call(t, tr, fleetURL+"/", 80); got["200"] != 80 {
			t.Errorf("with retries, answers %v of 80", got)
		}
	})
	t.Run("check", func(t *testing.T) {
		// "GET /health HTTP/1.0" and two ends of line; "200 OK".
		defer f.policy(t, "HealthCheck", "h", `interval: 200ms
timeout: 3s
unhealthyThreshold: 2
healthyThreshold: 1
noTrafficInterval: 200ms
reuseConnection: false
healthyPanicThreshold: 0
tcp: {send: R0VUIC9oZWFsdGggSFRUUC8xLjANCg0K, receive: [MjAwIE9L]}`)()
		f.await(t, "api", "tcp_health_check")
		f.awaitStat(t, "cluster.api.membership_healthy", 3)
		f.api[0].does(always(http.StatusServiceUnavailable))
		defer f.api[0].does(nil)
		f.awaitStat(t, "cluster.api.membership_healthy", 2)
		testmesh.Eventually(t, "who does not send what is expected is not called", func() error {
			if got := f.fresh(t, 30); got["v1"] != 0 {
				return fmt.Errorf("calls %v", got)
			}
			return nil
		})
	})
	t.Run("limit", func(t *testing.T) {
		defer f.policy(t, "CircuitBreaker", "c", "thresholds: {maxConnections: 2}")()
		f.await(t, "api", `"max_connections":2`)
		vip := f.web.Resolve(t, "api.mesh").String() + ":80"
		for range 2 {
			c := f.web.Dial(t, "tcp", vip)
			exchange(t, c)
		}
		between(t, "the end of a connection too many", f.closes(t), 0, late)
		f.awaitStat(t, "cluster.api.upstream_cx_active", 2)
	})
}

// fresh calls api n times, each on a connection of its own.
func (f *fleet) fresh(t *testing.T, n int) map[string]int {
	t.Helper()
	tr := f.web.Transport(t, "api.mesh")
	tr.DisableKeepAlives = true
	path := newPath()
	if got := testmesh.Call(t, tr, fleetURL+path, n); got["200"] != n {
		t.Fatalf("answers %v, want %d times 200", got, n)
	}
	return f.counts(path)
}

func (f *fleet) grpcRetries(t *testing.T) {
	f.protocol(t, "http", "grpc")
	defer f.protocol(t, "grpc", "http")
	defer f.policy(t, "Retry", "r", "grpc: {numRetries: 3, backOff: {baseInterval: 10ms, maxInterval: 50ms}}")()
	f.await(t, "outbound:api", `"num_retries":3`, "resource-exhausted")
	var mu sync.Mutex
	seen := map[string]int{}
	f.all(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen[r.URL.Path]++
		n := seen[r.URL.Path]
		mu.Unlock()
		code := "0"
		if n <= 2 {
			code = "14"
			if strings.HasPrefix(r.URL.Path, "/internal") {
				code = "13"
			}
		}
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Grpc-Status", code)
	})
	defer f.all(nil)
	for path, want := range map[string]struct {
		code  string
		calls int
	}{"/unavailable": {"0", 3}, "/internal": {"13", 1}} {
		r := f.get(t, "POST", path, http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}})
		if got := r.header.Get("Grpc-Status"); got != want.code || f.total(path) != want.calls {
			t.Errorf("%s: status %d, gRPC %s, after %d calls, want gRPC %s after %d", path, r.status, got, f.total(path), want.code, want.calls)
		}
	}
}
