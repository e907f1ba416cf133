// Package envoytest lends tests the real Envoy.
package envoytest

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// Binary returns the path of Envoy: that of the environment variable ENVOY,
// else where hack/envoy.sh puts it. The test fails when there is none.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := find()
	if err != nil {
		t.Fatal(err)
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
	if words, err := judgement(t, path); err != nil {
		t.Fatalf("Envoy refused it: %v\n%s\n%s", err, words, bootstrap)
	}
}

// Dir returns an empty folder whose path is short enough for unix sockets
// (108 bytes), which t.TempDir is not for tests with long names. A Windows that
// has none skips the test: wine is one.
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
	if runtime.GOOS != "windows" {
		return dir
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(dir, "probe"))
	if errors.Is(err, syscall.Errno(10047)) { // WSAEAFNOSUPPORT
		t.Skip("there are no unix sockets here:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	return dir
}
