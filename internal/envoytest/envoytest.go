// Package envoytest lends tests the real Envoy.
package envoytest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Binary returns the path of Envoy: that of the environment variable ENVOY,
// else where hack/envoy.sh puts it. The test fails when there is none.
func Binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("ENVOY")
	if path == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Fatalf("find Envoy: %v: set ENVOY, or run make envoy", err)
		}
		path = filepath.Join(cache, "weft", "envoy-1.40.0", "envoy")
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("find Envoy: %v: run make envoy", err)
	}
	return path
}

// Validate fails the test unless Envoy accepts the bootstrap without as much as
// a warning. What it names (sockets, certificates) need not be there.
func Validate(t testing.TB, bootstrap []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bootstrap.json")
	if err := os.WriteFile(path, bootstrap, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), Binary(t),
		"--mode", "validate", "--config-path", path, "--log-level", "warning",
		"--disable-hot-restart", "--concurrency", "1")
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("Envoy refused it: %v\n%s\n%s", err, out, bootstrap)
	}
	if bytes.Contains(out, []byte("][warning][")) || bytes.Contains(out, []byte("][error][")) {
		t.Fatalf("Envoy complained:\n%s", out)
	}
}

// Dir returns an empty folder whose path is short enough for unix sockets
// (108 bytes), which t.TempDir is not for tests with long names.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weft-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
