//go:build machines

package machines

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// arm makes the packages for arm64 as somebody's environment has it, and returns
// their folder and what was said.
func arm(t *testing.T, env ...string) (dir, said string, err error) {
	t.Helper()
	dir = t.TempDir()
	cmd := exec.CommandContext(t.Context(), "../../packaging/build.sh", dir)
	cmd.Env = append(append(os.Environ(), "ARCH=arm64", "WEFT_VERSION=0.1.0", "COMPRESSION=none"), env...)
	out, err := cmd.CombinedOutput()
	return dir, string(out), err
}

// pinned is the Envoy that hack/envoy.sh has for an architecture.
func pinned(t *testing.T, arch string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "../../hack/envoy.sh")
	cmd.Env = append(os.Environ(), "ENVOY=", "ENVOY_ARCH="+arch)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("Envoy for %s: %v", arch, err)
	}
	return strings.TrimSpace(string(out))
}

// packagesIn are the names of the packages in a folder.
func packagesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	for _, pattern := range []string{"*_arm64.deb", "*.aarch64.rpm"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			names = append(names, filepath.Base(path))
		}
	}
	return names
}

// TestARM makes the packages for arm64, with the Envoy that is given, and without
// one where there is none.
func TestARM(t *testing.T) {
	t.Parallel()
	if *sshConfig != "" {
		t.Skip("-ssh-config: packages are made here, and not on machines")
	}
	if _, said, err := arm(t, "ENVOY="+pinned(t, "amd64")); err == nil || !strings.Contains(said, "is not for arm64") {
		t.Errorf("with an Envoy for another processor: %v: %s", err, said)
	}

	dir, said, err := arm(t, "ENVOY="+pinned(t, "arm64"))
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	want := []string{"weft-agent_0.1.0-1_arm64.deb", "weft-cp_0.1.0-1_arm64.deb", "weft-agent-0.1.0-1.aarch64.rpm", "weft-cp-0.1.0-1.aarch64.rpm"}
	if have := packagesIn(t, dir); !slices.Equal(have, want) {
		t.Fatalf("made %v, not %v", have, want)
	}
	for deb, programs := range map[string][]string{
		want[0]: {"usr/bin/weft-agent", "usr/lib/weft/envoy", "usr/lib/weft-agent/weftctl/weftctl"},
		want[1]: {"usr/bin/weft-cp", "usr/lib/weft-cp/weftctl/weftctl"},
	} {
		if arch := command(t, "dpkg-deb", "--field", filepath.Join(dir, deb), "Architecture"); strings.TrimSpace(arch) != "arm64" {
			t.Errorf("%s is for %s", deb, arch)
		}
		tree := t.TempDir()
		command(t, "dpkg-deb", "--extract", filepath.Join(dir, deb), tree)
		for _, program := range programs {
			f, err := elf.Open(filepath.Join(tree, program))
			if err != nil {
				t.Error(err)
				continue
			}
			if f.Machine != elf.EM_AARCH64 {
				t.Errorf("%s in %s is for %s", program, deb, f.Machine)
			}
			_ = f.Close()
		}
	}
	for _, rpm := range want[2:] {
		if arch := command(t, "rpm", "--query", "--package", "--queryformat", "%{ARCH}", "--dbpath", t.TempDir(), filepath.Join(dir, rpm)); arch != "aarch64" {
			t.Errorf("%s is for %s", rpm, arch)
		}
	}

	// Go's own cache is where it was.
	gocache := strings.TrimSpace(command(t, "go", "env", "GOCACHE"))
	dir, said, err = arm(t, "ENVOY=", "XDG_CACHE_HOME="+t.TempDir(), "GOCACHE="+gocache, "PIP_NO_INDEX=1")
	if have := packagesIn(t, dir); err != nil || !slices.Equal(have, []string{want[1], want[3]}) || !strings.Contains(said, "ENVOY=/path") {
		t.Errorf("without an Envoy, made %v: %v: %s", have, err, said)
	}
}
