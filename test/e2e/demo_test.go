//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/internal/testmesh"
)

// traces is what a demo with its files in dir could leave on this machine.
func traces(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{dir + "/*", "/run/netns/weft-*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		text, _ := os.ReadFile(p) // it may be gone by now
		if line := strings.ReplaceAll(string(text), "\x00", " "); strings.Contains(line, dir) {
			all = append(all, p+": "+line)
		}
	}
	slices.Sort(all)
	return all
}

func demo(t *testing.T, dir, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "WEFT_BIN="+filepath.Dir(testmesh.Binary(t, "weft-cp")), "ENVOY="+envoytest.Binary(t))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestDemo runs the demo as a newcomer does: without a terminal it ends by
// itself, on a terminal by Ctrl-C, and either way nothing of it is left.
func TestDemo(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the demo makes network namespaces: run the tests as root")
	}
	dir := envoytest.Dir(t)
	before := traces(t, dir)
	said := []string{
		"api was called by spiffe://default/web",
		"no TrafficPermission has destinations that match",
		"web was called by spiffe://default/api",
	}
	t.Run("without a terminal", func(t *testing.T) {
		out, err := demo(t, dir, "hack/demo.sh")
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, s := range said {
			if !strings.Contains(out, s) {
				t.Errorf("it does not say %q:\n%s", s, out)
			}
		}
	})
	t.Run("on a terminal, Ctrl-C", func(t *testing.T) {
		const onTerminal = `
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execv("hack/demo.sh", ["hack/demo.sh"])
seen = b""
while True:
    try:
        part = os.read(fd, 4096)
    except OSError:
        break
    if not part:
        break
    before, seen = seen, seen + part
    if b"redirect check --config" in seen and b"redirect check --config" not in before:
        os.write(fd, b"\x03")
sys.stdout.buffer.write(seen)
print("ended with", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`
		out, err := demo(t, dir, "python3", "-c", onTerminal)
		if err != nil || !strings.Contains(out, "ended with 130") || !strings.Contains(out, "Ctrl-C") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	if after := traces(t, dir); !slices.Equal(before, after) {
		t.Errorf("left behind: %q, before there was %q", after, before)
	}
}
