package envoy_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/pkg/envoy"
)

// adminServer serves h as Envoy's admin socket.
func adminServer(t *testing.T, h http.HandlerFunc) *envoy.Admin {
	t.Helper()
	path := filepath.Join(envoytest.Dir(t), "admin.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return envoy.NewAdmin(path)
}

func TestAdminAsks(t *testing.T) {
	var asked string
	a := adminServer(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.Method + " " + r.URL.String()
		_, _ = io.WriteString(w, "a.b: 3\na.c: -1\na.text: \"x\"\na.histogram: P0(nan,1.0)\nno colon\n")
	})
	stats, err := a.Stats(t.Context(), "^a")
	if err != nil {
		t.Fatal(err)
	}
	if asked != "GET /stats?filter=%5Ea" {
		t.Errorf("asked %q", asked)
	}
	if len(stats) != 2 || stats["a.b"] != 3 || stats["a.c"] != -1 {
		t.Errorf("stats %v, want a.b 3 and a.c -1", stats)
	}
	if err := a.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if asked != "POST /drain_listeners?graceful=&inboundonly=&skip_exit=" {
		t.Errorf("asked %q", asked)
	}
}

func TestAdminTellsWhatEnvoySays(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	a := adminServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "INITIALIZING\n"+long)
	})
	err := a.Ready(t.Context())
	if err == nil || !strings.Contains(err.Error(), "/ready: 503 Service Unavailable: INITIALIZING") {
		t.Errorf("error %v, want Envoy's word", err)
	}
	if len(err.Error()) > 500 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

func TestAdminWithoutEnvoy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	if err := envoy.NewAdmin(path).Ready(t.Context()); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want one that names %s", err, path)
	}
}

func TestAdminEndsWithItsContext(t *testing.T) {
	released := make(chan struct{})
	defer close(released)
	a := adminServer(t, func(http.ResponseWriter, *http.Request) { <-released })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := a.Ready(ctx); err == nil {
		t.Error("ready, though nobody answered")
	}
}
