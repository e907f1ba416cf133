//go:build linux

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/internal/testtime"
)

func (f *fleet) requestTimeout(t *testing.T) {
	f.all(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			pause(r.Context(), 700*time.Millisecond)
		} else {
			pause(r.Context(), testtime.Wait)
		}
	})
	defer f.all(nil)
	if r := f.get(t, "GET", "/", nil); r.status != http.StatusOK {
		t.Errorf("without a policy, answer %d after %s", r.status, r.took)
	}
	undo := f.policy(t, "Timeout", "t", "http: {requestTimeout: 400ms}")
	f.await(t, "outbound:api", `"0.400s"`)
	r := f.get(t, "GET", "/never", nil)
	if r.status != http.StatusGatewayTimeout {
		t.Errorf("answer %d", r.status)
	}
	between(t, "a request that is too slow", r.took, 400*time.Millisecond, late)
	undo()
	f.await(t, "outbound:api", `!"0.400s"`)
	if r := f.get(t, "GET", "/", nil); r.status != http.StatusOK {
		t.Errorf("with the policy gone, answer %d after %s", r.status, r.took)
	}
}

func (f *fleet) streamTimeouts(t *testing.T) {
	// A stream that says something ten times a second, or once.
	f.all(func(w http.ResponseWriter, r *http.Request) {
		n := 30
		if r.URL.Path == "/silent" {
			n = 1
		}
		for range n {
			_, _ = io.WriteString(w, ".")
			_ = http.NewResponseController(w).Flush()
			pause(r.Context(), 100*time.Millisecond)
		}
		if n == 1 {
			pause(r.Context(), testtime.Wait)
		}
	})
	defer f.all(nil)
	stream := func(path string) (response, time.Duration, error) {
		began := time.Now()
		r, err := f.try(t, "GET", path, nil)
		return r, time.Since(began), err
	}

	undo := f.policy(t, "Timeout", "t", "http: {streamIdleTimeout: 2s}")
	f.await(t, "outbound:api", `"idle_timeout":"2s"`)
	_, took, err := stream("/silent")
	if err == nil {
		t.Error("a silent stream ended well")
	}
	between(t, "a silent stream", took, 2*time.Second, late)
	if r, took, err := stream("/busy"); err != nil || len(r.body) != 30 {
		t.Errorf("a busy stream was cut after %s: %q %v", took, r.body, err)
	}
	undo()

	defer f.policy(t, "Timeout", "t", "http: {maxStreamDuration: 800ms}")()
	f.await(t, "outbound:api", `"max_stream_duration":"0.800s"`)
	r, took, err := stream("/busy")
	if err == nil {
		t.Errorf("a busy stream was not cut: %d %q", r.status, r.body)
	}
	between(t, "a busy stream", took, 800*time.Millisecond, late)
}

func (f *fleet) idleTimeout(t *testing.T) {
	defer f.policy(t, "Timeout", "t", "http: {idleTimeout: 700ms}")()
	f.await(t, f.listener, `"idle_timeout":"0.700s"`)
	// Envoy then gives the caller 5 s to notice; so it is the count that tells.
	const idle = "http.api.downstream_cx_idle_timeout"
	before := f.stat(t, idle)
	began := time.Now()
	if r := exchange(t, f.web.Dial(t, "tcp", f.web.Resolve(t, "api.mesh").String()+":80")); r == nil {
		t.Fatal("no answer")
	}
	testmesh.Eventually(t, "the connection is idle", func() error {
		if f.stat(t, idle) == before {
			return fmt.Errorf("it is not after %s", time.Since(began))
		}
		return nil
	})
	between(t, "an idle connection", time.Since(began), 700*time.Millisecond, late)
	// The connection to the backend's proxy goes too.
	f.awaitStat(t, "cluster.api.upstream_cx_active", 0)
}

// closes calls api on a connection of its own and tells how long that lives,
// most of it after the answer.
func (f *fleet) closes(t *testing.T) time.Duration {
	t.Helper()
	c := f.web.Dial(t, "tcp", f.web.Resolve(t, "api.mesh").String()+":80")
	began := time.Now()
	if r := exchange(t, c); r != nil {
		if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("the connection ended with %v", err)
		}
	}
	return time.Since(began)
}

// exchange sends a request on a connection and takes the answer; nil is returned
// where the connection ends before.
func exchange(t *testing.T, c *testnet.Conn) *bufio.Reader {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(testnet.Patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "GET /raw HTTP/1.1\r\nHost: api.mesh\r\n\r\n"); err != nil {
		return nil
	}
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("answer %d, error %v", resp.StatusCode, err)
	}
	return r
}

func (f *fleet) connectTimeout(t *testing.T) {
	defer f.extra(t, "hole", hole, 8080, "http")()
	defer f.policy(t, "Timeout", "t", "connectTimeout: 400ms")()
	f.await(t, "api", `"connect_timeout":"0.400s"`)
	defer f.policy(t, "TrafficRoute", "hole", "destination: {kuma.io/service: api, version: hole}")()
	testmesh.Eventually(t, "calls go into the hole, and not for long", func() error {
		r := f.get(t, "GET", "/", nil)
		if r.status != http.StatusServiceUnavailable || r.took < 400*time.Millisecond || r.took > 2*time.Second {
			return fmt.Errorf("answer %d after %s", r.status, r.took)
		}
		return nil
	})
}
