//go:build linux

package envoy_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/pkg/envoy"
)

func TestCheckTellsTheVersion(t *testing.T) {
	got, err := envoy.Check(t.Context(), envoytest.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("ENVOY") == "" && got != "1.40.0" {
		t.Errorf("version %q, want 1.40.0", got)
	}
}

func TestCheckRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := []struct {
		name, path   string
		what, remedy string
	}{
		{"no path", "", "there is no such file", "ENVOY=/path"},
		{"missing", filepath.Join(dir, "missing"), "there is no such file", "make envoy"},
		{"a folder", dir, "it is not a file", "make envoy"},
		{"not executable", file("plain", "#!/bin/sh\n", 0o644), "it is not executable", "chmod +x " + filepath.Join(dir, "plain")},
		{"not a program", file("text", "hello, world, I am an Envoy", 0o755), "it is not a program of this system", "make envoy"},
		{"other machine", file("foreign", foreignELF(t), 0o755), "it is built for ", "install the Envoy that is built for " + runtime.GOARCH},
		{"no interpreter", file("noloader", "#!/no/such/loader\n", 0o755), "the loader that it was linked for", "glibc"},
		{"fails", file("fails", "#!/bin/sh\necho out of luck >&2\nexit 3\n", 0o755), "exit status 3: out of luck", "make envoy"},
		{"something else", file("else", "#!/bin/sh\necho nginx 1.2.3\n", 0o755), `but "nginx 1.2.3"`, "make envoy"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := envoy.Check(t.Context(), tt.path)
			if !errors.Is(err, envoy.ErrBinary) {
				t.Fatalf("error %v, want ErrBinary", err)
			}
			for _, want := range []string{tt.path, tt.what, tt.remedy} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
}

// foreignELF is the head of a program for another machine than this one.
func foreignELF(t *testing.T) string {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	const atMachine, riscv = 18, 243
	self[atMachine], self[atMachine+1] = riscv, 0
	return string(self)
}
