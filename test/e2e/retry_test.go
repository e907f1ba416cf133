//go:build linux

package e2e

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/internal/testtime"
)

func (f *fleet) retries(t *testing.T) {
	f.all(failing(2, http.StatusServiceUnavailable))
	path := newPath()
	if r := f.get(t, "GET", path, nil); r.status != http.StatusServiceUnavailable || f.total(path) != 1 {
		t.Errorf("without a policy, answer %d after %d calls", r.status, f.total(path))
	}
	defer f.all(nil)
	for _, c := range []struct {
		name, conf, method string
		fails, status      int
		calls, want        int
	}{
		{"until it is answered", "numRetries: 3", "GET", 2, 503, 3, 200},
		{"no more often than that", "numRetries: 3", "GET", 9, 503, 4, 503},
		{"once by default", "retryOn: [gateway_error]", "GET", 9, 502, 2, 502},
		{"what is no gateway's error is not, by default", "numRetries: 3", "GET", 2, 500, 1, 500},
		{"every 5xx", "{numRetries: 3, retryOn: [all_5xx]}", "GET", 2, 500, 3, 200},
		{"conflicts", "{numRetries: 3, retryOn: [retriable_4xx]}", "GET", 2, 409, 3, 200},
		{"status codes", "{numRetries: 3, retriableStatusCodes: [429]}", "GET", 2, 429, 3, 200},
		{"other status codes", "{numRetries: 3, retriableStatusCodes: [429]}", "GET", 2, 428, 1, 428},
		{"a method", "{numRetries: 3, retriableMethods: [GET]}", "GET", 2, 503, 3, 200},
		{"another method", "{numRetries: 3, retriableMethods: [GET, PUT]}", "DELETE", 2, 503, 1, 503},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.conf[0] != '{' {
				c.conf = "{" + c.conf + "}"
			}
			undo := f.policy(t, "Retry", "r", "http: "+c.conf[:len(c.conf)-1]+", backOff: {baseInterval: 10ms, maxInterval: 50ms}}")
			f.await(t, "outbound:api", `"retry_back_off"`)
			f.all(failing(c.fails, c.status))
			path := newPath()
			if r := f.get(t, c.method, path, nil); r.status != c.want || f.total(path) != c.calls {
				t.Errorf("answer %d after %d calls, want %d after %d", r.status, f.total(path), c.want, c.calls)
			}
			undo()
			f.await(t, "outbound:api", `!"retry_back_off"`)
		})
	}
}

func (f *fleet) perTryTimeout(t *testing.T) {
	defer f.policy(t, "Retry", "r", "http: {numRetries: 2, perTryTimeout: 2s, backOff: {baseInterval: 10ms, maxInterval: 50ms}}")()
	f.await(t, "outbound:api", `"per_try_timeout":"2s"`)
	var calls atomic.Int32
	f.all(func(_ http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			pause(r.Context(), testtime.Wait)
		}
	})
	defer f.all(nil)
	r := f.get(t, "GET", newPath(), nil)
	if n := calls.Load(); r.status != http.StatusOK || n != 2 {
		t.Errorf("answer %d after %d calls", r.status, n)
	}
	between(t, "the request", r.took, 2*time.Second, late)
}

func (f *fleet) refusedConnections(t *testing.T) {
	defer f.extra(t, "dead", f.CP.IP4.String(), 9, "http")()
	if got := testmesh.Call(t, f.rt, fleetURL+"/", 80); got["503"] < 15 || got["200"]+got["503"] != 80 {
		t.Errorf("with one of four endpoints dead, answers %v of 80", got)
	}
	defer f.policy(t, "Retry", "r", "http: {numRetries: 2, backOff: {baseInterval: 10ms, maxInterval: 50ms}}")()
	f.await(t, "outbound:api", `"num_retries":2`)
	if got := testmesh.Call(t, f.rt, fleetURL+"/", 80); got["200"] != 80 {
		t.Errorf("with retries, answers %v of 80", got)
	}
}
