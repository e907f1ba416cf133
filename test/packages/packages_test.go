//go:build linux

// Package packages looks at what make package makes, without installing it:
// test/machines does that.
package packages

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

const version = "1.2.3"

// root is the module's.
var root = filepath.Join("..", "..")

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

var built struct {
	sync.Once
	dir string
	err error
}

// inputs are what packages are made of. The go command keeps results of tests by
// what these open, and does not see what make reads.
var inputs = []string{"packaging", "hack", "cmd", "pkg", "bpf", "docs", "go.mod", "Makefile", "CHANGELOG.md"}

var looked sync.Once

func lookAtInputs(t *testing.T) {
	t.Helper()
	looked.Do(func() {
		for _, dir := range inputs {
			err := filepath.WalkDir(filepath.Join(root, dir), func(path string, _ os.DirEntry, err error) error {
				if err == nil {
					_, err = os.Stat(path)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// made is the folder of packages of this tree.
func made(t *testing.T) string {
	t.Helper()
	lookAtInputs(t)
	built.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "weft-packages-"); built.err == nil { //nolint:usetesting // it outlives the test that makes it
			built.err = build(context.WithoutCancel(t.Context()), root, built.dir, "weft-cp weft-agent")
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.dir
}

// build makes packages of a tree. The debs are not compressed, which takes longer
// than all the rest and has nothing to do with what is looked at here.
func build(ctx context.Context, tree, out, packages string) error {
	cmd := exec.CommandContext(ctx, "make", "--no-print-directory", "-C", tree, "package", "OUT="+out)
	cmd.Env = append(os.Environ(), "WEFT_VERSION="+version, "SOURCE_DATE_EPOCH=1700000000", "PACKAGES="+packages, "COMPRESSION=none")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make package in %s: %w\n%s", tree, err, text)
	}
	return nil
}

func file(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(made(t), pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("want one file %s: %v, %v", pattern, found, err)
	}
	return found[0]
}

// contents are what a package must bring, and with which mode.
var contents = map[string][]string{
	"weft-agent": {
		"-rwxr-xr-x ./usr/bin/weft-agent", "-rwxr-xr-x ./usr/lib/weft/envoy", "-rwxr-xr-x ./usr/lib/weft-agent/weftctl/weftctl",
		"-rw-r--r-- ./usr/lib/systemd/system/weft-agent.service", "-rw-r--r-- ./usr/lib/systemd/system/weft-redirect.service",
		"-rw-r--r-- ./usr/lib/systemd/system-preset/80-weft-agent.preset", "-rw-r--r-- ./usr/lib/sysusers.d/weft-agent.conf",
		"-rw-r--r-- ./usr/share/man/man8/weft-agent.8.gz", "-rw-r--r-- ./usr/share/man/man8/weft-agent-redirect-apply.8.gz",
		"-rw-r--r-- ./usr/lib/weft-agent/weftctl/man/weftctl-join-token.1.gz", "-rw-r--r-- ./usr/share/bash-completion/completions/weft-agent",
		"-rw-r--r-- ./usr/share/doc/weft-agent/copyright", "-rw-r--r-- ./usr/share/doc/weft-agent/THIRD-PARTY", "-rw-r--r-- ./usr/share/doc/weft-agent/weft-agent.cdx.json",
		"drwxr-xr-x ./etc/weft/",
	},
	"weft-cp": {
		"-rwxr-xr-x ./usr/bin/weft-cp", "-rwxr-xr-x ./usr/lib/weft-cp/weftctl/weftctl", "-rw-r----- ./etc/weft/cp.yaml",
		"-rw-r--r-- ./usr/lib/systemd/system/weft-cp.service", "-rw-r--r-- ./usr/lib/sysusers.d/weft-cp.conf", "-rw-r--r-- ./usr/lib/tmpfiles.d/weft-cp.conf",
		"-rw-r--r-- ./usr/share/man/man8/weft-cp.8.gz", "-rw-r--r-- ./usr/share/doc/weft-cp/THIRD-PARTY",
	},
}

func TestContents(t *testing.T) {
	t.Parallel()
	for name, want := range contents {
		var have []string
		for line := range strings.Lines(run(t, "dpkg-deb", "--contents", file(t, name+"_*.deb"))) {
			f := strings.Fields(line)
			have = append(have, f[0]+" "+f[5])
		}
		inRPM := run(t, "rpm", "--query", "--package", "--list", "--dbpath", t.TempDir(), file(t, name+"-*.rpm"))
		for _, w := range want {
			if !slices.Contains(have, w) {
				t.Errorf("%s lacks %q:\n%s", name, w, strings.Join(have, "\n"))
			}
			if path := strings.TrimSuffix(w[strings.Index(w, "./")+1:], "/"); !strings.Contains(inRPM, path+"\n") {
				t.Errorf("the rpm of %s lacks %s", name, path)
			}
		}
		if conffiles := run(t, "dpkg-deb", "--info", file(t, name+"_*.deb"), "control"); !strings.Contains(conffiles, "Version: "+version+"-1") {
			t.Errorf("%s has another version:\n%s", name, conffiles)
		}
	}
	if got := run(t, "dpkg-deb", "--info", file(t, "weft-cp_*.deb"), "conffiles"); strings.TrimSpace(got) != "/etc/weft/cp.yaml" {
		t.Errorf("conffiles of weft-cp: %s", got)
	}
	if got := run(t, "rpm", "--query", "--package", "--configfiles", "--dbpath", t.TempDir(), file(t, "weft-cp-*.rpm")); strings.TrimSpace(got) != "/etc/weft/cp.yaml" {
		t.Errorf("configuration files of the rpm of weft-cp: %s", got)
	}
	run(t, "sh", "-c", "cd "+made(t)+" && sha256sum --check --strict SHA256SUMS")
}

// A bill of materials names every module that the program says it is made of.
func TestBillsOfMaterials(t *testing.T) {
	t.Parallel()
	tree := t.TempDir()
	run(t, "dpkg-deb", "--extract", file(t, "weft-cp_*.deb"), tree)
	info, err := buildinfo.ReadFile(filepath.Join(tree, "usr/bin/weft-cp"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(tree, "usr/share/doc/weft-cp/weft-cp.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	var bill struct {
		BOMFormat  string
		Metadata   struct{ Component struct{ Version string } }
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal(text, &bill); err != nil || bill.BOMFormat != "CycloneDX" || bill.Metadata.Component.Version != version {
		t.Fatalf("%v: %.500s", err, text)
	}
	named := map[string]string{}
	for _, c := range bill.Components {
		named[c.Name] = c.Version
	}
	licences, err := os.ReadFile(filepath.Join(tree, "usr/share/doc/weft-cp/THIRD-PARTY"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dep := range info.Deps {
		if named[dep.Path] != dep.Version {
			t.Errorf("the bill has %s at %q, the program at %q", dep.Path, named[dep.Path], dep.Version)
		}
		if !bytes.Contains(licences, []byte("==== "+dep.Path+"@"+dep.Version+": ")) {
			t.Errorf("there is no licence text of %s", dep.Path)
		}
	}
	if len(info.Deps) < 20 {
		t.Errorf("the program has only %d modules", len(info.Deps))
	}
}

// The same commit makes the same bytes, wherever it lies.
func TestReproducible(t *testing.T) {
	t.Parallel()
	elsewhere := filepath.Join(t.TempDir(), "another", "place")
	if err := os.MkdirAll(elsewhere, 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, "sh", "-c", fmt.Sprintf("cd %s && { git ls-files -z; git ls-files -z --others --exclude-standard; } | xargs -0 -r sh -c 'for f; do [ -e \"$f\" ] && printf \"%%s\\0\" \"$f\"; done' sh | cpio --quiet -0 -pdm %s", root, elsewhere))
	out := t.TempDir()
	if err := build(t.Context(), elsewhere, out, "weft-cp"); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"weft-cp_*.deb", "weft-cp-*.rpm", "weft-cp-*.cdx.json"} {
		name := file(t, pattern)
		a, errA := os.ReadFile(name)
		b, errB := os.ReadFile(filepath.Join(out, filepath.Base(name)))
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs: %v, %v", filepath.Base(name), errA, errB)
		}
	}
}

// Neither distribution's own checks find an error.
func TestLint(t *testing.T) {
	t.Parallel()
	found := run(t, "lintian", "--allow-root", "--fail-on", "none", "--tag-display-limit", "0",
		"--suppress-tags", "uses-no-compression-for-data-tarball", file(t, "weft-cp_*.deb"), file(t, "weft-agent_*.deb"))
	for line := range strings.Lines(found) {
		if strings.HasPrefix(line, "E:") {
			t.Error(line)
		}
	}
	out, _ := exec.CommandContext(t.Context(), "rpmlint", "--config", filepath.Join(root, "packaging", "rpmlint.toml"), file(t, "weft-cp-*.rpm"), file(t, "weft-agent-*.rpm")).CombinedOutput()
	if !regexp.MustCompile(`2 packages and 0 specfiles checked; 0 errors`).Match(out) {
		t.Errorf("rpmlint:\n%s", out)
	}
}

// exposure is the most that a unit may have by systemd-analyze security.
var exposure = map[string]float64{"weft-cp": 3.0, "weft-agent": 4.5, "weft-redirect": 4.5}

func TestUnits(t *testing.T) {
	t.Parallel()
	lookAtInputs(t)
	for name, most := range exposure {
		unit, err := filepath.Abs(filepath.Join(root, "packaging", "systemd", name+".service"))
		if err != nil {
			t.Fatal(err)
		}
		out := run(t, "systemd-analyze", "security", "--offline=true", unit)
		i := strings.LastIndex(out, "Overall exposure level for")
		var is float64
		if _, err := fmt.Sscanf(out[i+strings.Index(out[i:], ": "):], ": %f", &is); i < 0 || err != nil || is > most {
			t.Errorf("%s has an exposure of %.1f (%v), at most %.1f:\n%s", name, is, err, most, out)
		}
	}
}
