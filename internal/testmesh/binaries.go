//go:build linux

package testmesh

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// programs are built once per test process, from the tree that is tested.
var programs struct {
	once sync.Once
	dir  string
	err  error
}

// Binary is the path of weft-cp, weft-agent or weftctl, built from this tree.
func Binary(t testing.TB, name string) string {
	t.Helper()
	programs.once.Do(func() { programs.dir, programs.err = build(context.WithoutCancel(t.Context())) })
	if programs.err != nil {
		t.Fatal(programs.err)
	}
	return filepath.Join(programs.dir, name)
}

func build(ctx context.Context) (string, error) {
	dir, err := os.MkdirTemp("", "weft-bin-")
	if err != nil {
		return "", err
	}
	for name, pkg := range map[string]string{"weft-cp": "cp", "weft-agent": "dp-agent", "weftctl": "ctl"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-tags", "grpcnotrace", "-o", filepath.Join(dir, name), "./cmd/"+pkg)
		cmd.Dir = root()
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return dir, nil
}

// failing is weft-cp with its fail points, built where a test needs it.
var failing struct {
	once sync.Once
	err  error
}

// FailingControlPlane is the path of a weft-cp that fails where the variable
// WEFT_FAILPOINTS says, see package failpoint.
func FailingControlPlane(t testing.TB) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(Binary(t, "weft-cp")), "weft-cp-failpoints")
	failing.once.Do(func() {
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "go", "build", "-tags", "failpoints,grpcnotrace", "-o", path, "./cmd/cp")
		cmd.Dir = root()
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			failing.err = fmt.Errorf("build weft-cp with fail points: %w\n%s", err, out)
		}
	})
	if failing.err != nil {
		t.Fatal(failing.err)
	}
	return path
}

// Main runs a package's tests and removes what Binary built.
func Main(m *testing.M) {
	code := m.Run()
	if programs.dir != "" {
		_ = os.RemoveAll(programs.dir)
	}
	os.Exit(code)
}

// root is the folder of go.mod, above the package under test.
func root() string {
	dir, err := os.Getwd()
	for err == nil && dir != "/" {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	return "."
}
