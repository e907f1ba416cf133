//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testmesh"
)

// one calls api n times, one after the other, and counts the answers.
func (f *fleet) one(t *testing.T, path string, n int) map[int]int {
	t.Helper()
	got := map[int]int{}
	for range n {
		got[f.get(t, "GET", path, nil).status]++
	}
	return got
}

func (f *fleet) ejection(t *testing.T) {
	undo := f.policy(t, "CircuitBreaker", "c", "interval: 100ms\nbaseEjectionTime: 10m\ndetectors: {totalErrors: {consecutive: 3}}")
	f.await(t, "api", `"consecutive_5xx":3`)
	f.api[0].does(always(http.StatusInternalServerError))
	defer f.all(nil)
	path := newPath()
	got := f.one(t, path, 60)
	if n := f.counts(path)["v1"]; got[500] != 3 || n != 3 {
		t.Errorf("answers %v, of which v1 gave %d; want it to be left alone after 3", got, n)
	}
	f.awaitStat(t, "cluster.api.outlier_detection.ejections_active", 1)

	// Of ten endpoints one may be ejected, of three one: however many fail.
	f.api[1].does(always(http.StatusInternalServerError))
	f.one(t, newPath(), 30)
	f.awaitStat(t, "cluster.api.outlier_detection.ejections_active", 1)
	if got := f.one(t, newPath(), 20); got[500] < 8 {
		t.Errorf("with two of three failing and 10 percent that may be ejected: %v", got)
	}
	f.all(nil)
	undo()
	f.await(t, "api", `!"outlier_detection"`)

	defer f.policy(t, "CircuitBreaker", "c", "interval: 100ms\nbaseEjectionTime: 1s\ndetectors: {totalErrors: {consecutive: 3}}")()
	f.await(t, "api", `"consecutive_5xx":3`)
	const ejections = "cluster.api.outlier_detection.ejections_enforced_total"
	before := f.stat(t, ejections)
	f.api[0].does(always(http.StatusInternalServerError))
	testmesh.Eventually(t, "v1 is ejected", func() error {
		if f.one(t, "/", 9); f.stat(t, ejections) == before {
			return errors.New("it is not")
		}
		return nil
	})
	f.api[0].does(nil)
	testmesh.Eventually(t, "v1 is called again", func() error {
		if path := newPath(); f.one(t, path, 6)[200] != 6 || f.counts(path)["v1"] == 0 {
			return fmt.Errorf("it is not: %v", f.counts(path))
		}
		return nil
	})
}

func (f *fleet) detectors(t *testing.T) {
	for _, c := range []struct {
		name, detectors string
		status          int
		ejected         bool
	}{
		{"a gateway's errors", "{gatewayErrors: {consecutive: 3}}", 503, true},
		{"others are none", "{gatewayErrors: {consecutive: 3}}", 500, false},
		{"every error", "{totalErrors: {consecutive: 3}}", 501, true},
		{"what is no error", "{totalErrors: {consecutive: 3}}", 404, false},
		{"a rate that is far from the others'", "{standardDeviation: {requestVolume: 5, minimumHosts: 3, factor: 1}}", 500, true},
		{"a rate that is not far enough", "{standardDeviation: {requestVolume: 5, minimumHosts: 3, factor: 2}}", 500, false},
		{"a percentage", "{failure: {requestVolume: 5, minimumHosts: 3, threshold: 90}}", 500, true},
		{"too few hosts", "{failure: {requestVolume: 5, minimumHosts: 4, threshold: 90}}", 500, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer f.policy(t, "CircuitBreaker", "c", "interval: 200ms\nbaseEjectionTime: 1m\ndetectors: "+c.detectors)()
			f.await(t, "api", `"outlier_detection"`)
			f.api[0].does(always(c.status))
			defer f.api[0].does(nil)
			deadline := time.Now().Add(time.Second)
			active := func() int64 { return f.stat(t, "cluster.api.outlier_detection.ejections_active") }
			if c.ejected {
				testmesh.Eventually(t, "v1 is ejected", func() error {
					if f.one(t, "/", 30); active() != 1 {
						return fmt.Errorf("%d ejected", active())
					}
					return nil
				})
			}
			for !c.ejected && time.Now().Before(deadline) {
				if f.one(t, "/", 30); active() != 0 {
					t.Fatal("v1 is ejected")
				}
			}
		})
	}
	t.Run("failures on this side", func(t *testing.T) {
		defer f.extra(t, "dead", f.CP.IP4.String(), 9, "http")()
		defer f.policy(t, "CircuitBreaker", "c", "baseEjectionTime: 1m\nsplitExternalAndLocalErrors: true\ndetectors: {localErrors: {consecutive: 2}}")()
		f.await(t, "api", `"consecutive_local_origin_failure":2`)
		if got := f.one(t, "/", 60); got[503] != 2 {
			t.Errorf("answers %v, want 2 until who refuses connections is ejected", got)
		}
	})
}

// together sends n requests at once and counts the answers; enough is called
// when so many have come.
func (f *fleet) together(t *testing.T, path string, n, many int, enough func()) map[int]int {
	t.Helper()
	come := 0
	var mu sync.Mutex
	got := map[int]int{}
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			r, err := f.try(t, "GET", path, nil)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			got[r.status]++
			if come++; come == many {
				enough()
			}
		})
	}
	wg.Wait()
	return got
}

func (f *fleet) thresholds(t *testing.T) {
	t.Run("requests", func(t *testing.T) {
		defer f.policy(t, "CircuitBreaker", "c", "thresholds: {maxRequests: 2}")()
		f.await(t, "api", `"max_requests":2`)
		// Those under way end when the others were refused.
		refused, end := context.WithTimeout(t.Context(), 10*time.Second)
		defer end()
		f.all(func(http.ResponseWriter, *http.Request) { <-refused.Done() })
		defer f.all(nil)
		path := newPath()
		if got := f.together(t, path, 10, 8, end); got[200] != 2 || got[503] != 8 || f.total(path) != 2 {
			t.Errorf("answers %v, calls %d; want 2 under way at most", got, f.total(path))
		}
	})
	t.Run("pending requests", func(t *testing.T) {
		defer f.extra(t, "hole", hole, 8080, "http")()
		defer f.policy(t, "Timeout", "t", "connectTimeout: 1s")()
		f.await(t, "api", `"connect_timeout":"1s"`)
		defer f.policy(t, "CircuitBreaker", "c", "thresholds: {maxPendingRequests: 1}")()
		f.await(t, "api", `"max_pending_requests":1`)
		defer f.policy(t, "TrafficRoute", "hole", "destination: {kuma.io/service: api, version: hole}")()
		f.await(t, "outbound:api", `!"cluster":"api"`)
		testmesh.Eventually(t, "one waits for a connection, the others do not", func() error {
			began := time.Now()
			soon := 0
			var mu sync.Mutex
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() {
					r, err := f.try(t, "GET", "/", nil)
					mu.Lock()
					defer mu.Unlock()
					if err == nil && r.status == http.StatusServiceUnavailable && r.took < 700*time.Millisecond {
						soon++
					}
				})
			}
			wg.Wait()
			if took := time.Since(began); soon != 4 || took < time.Second {
				return fmt.Errorf("%d of 5 failed at once, the last after %s", soon, took)
			}
			return nil
		})
	})
	t.Run("retries", func(t *testing.T) {
		defer f.policy(t, "Retry", "r", "http: {numRetries: 3}")()
		f.await(t, "outbound:api", `"num_retries":3`)
		defer f.policy(t, "CircuitBreaker", "c", "thresholds: {maxRetries: 0}")()
		f.await(t, "api", `"max_retries":0`)
		f.all(always(http.StatusServiceUnavailable))
		defer f.all(nil)
		path := newPath()
		if r := f.get(t, "GET", path, nil); r.status != 503 || f.total(path) != 1 {
			t.Errorf("answer %d after %d calls", r.status, f.total(path))
		}
	})
}
