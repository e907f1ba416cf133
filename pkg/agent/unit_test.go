//go:build linux

package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A unit's cgroup is where it runs, else where systemd will put it.
func TestUnits(t *testing.T) {
	root := t.TempDir()
	file := func(name, text string) {
		t.Helper()
		p := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	link := func(target, name string) {
		t.Helper()
		p := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.Symlink(target, p)); err != nil {
			t.Fatal(err)
		}
	}
	tree := filepath.Join(root, "cgroup")
	for _, dir := range []string{
		"system.slice/live.service/inner.service", "web.slice/web-a.slice/moved.service", "init.scope",
		"system.slice/system-get\\x2dty.slice/get-ty@tty1.service", "user.slice/user-1000.slice/user@1000.service/app.slice/own.service",
	} {
		if err := os.MkdirAll(filepath.Join(tree, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const lib, etc = "usr/lib/systemd/system/", "etc/systemd/system/"
	file(lib+"idle.service", "[Service]\nExecStart=/bin/true\n")
	file(lib+"ssh.service", "[Service]\n")
	file(lib+"sliced.service", "[Service]\nSlice=early.slice\nSlice = web-b.slice\n")
	file(lib+"moved.service", "[Service]\n")
	file(lib+"dropped.service", "[Service]\nSlice=web.slice\n")
	file(lib+"dropped.service.d/10-slice.conf", "[Service]\nSlice=no.slice\n")
	file(etc+"dropped.service.d/10-slice.conf", "[Service]\nSlice=yes.slice\n")
	file(lib+"dropped.service.d/05-slice.conf", "[Service]\nSlice=sooner.slice\n")
	file(lib+"my-pool@.service", "[Service]\n")
	file(lib+"socket.d/all.conf", "[Socket]\nSlice=sockets.slice\n")
	file(lib+"door.socket", "[Socket]\n")
	link("/dev/null", etc+"masked.service")
	link(filepath.Join(root, lib, "ssh.service"), etc+"sshd.service")
	s := systemd{files: root, cgroups: func() (string, error) { return tree, nil }}
	for name, want := range map[string]string{
		"live.service":        "system.slice/live.service",
		"live":                "system.slice/live.service",
		"moved.service":       "web.slice/web-a.slice/moved.service",
		"init.scope":          "init.scope",
		"get-ty@tty1.service": `system.slice/system-get\x2dty.slice/get-ty@tty1.service`,
		"idle.service":        "system.slice/idle.service",
		"sliced.service":      "web.slice/web-b.slice/sliced.service",
		"dropped.service":     "yes.slice/dropped.service",
		"my-pool@3.service":   `system.slice/system-my\x2dpool.slice/my-pool@3.service`,
		"door.socket":         "sockets.slice/door.socket",
		"sshd":                "system.slice/ssh.service",
		"web.slice":           "web.slice",
		"new-one.slice":       "new.slice/new-one.slice",
	} {
		if got, err := s.path(name); got != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
	for name, want := range map[string]string{
		"none.service":   `no unit "none.service", neither running nor as a file`,
		"masked":         "masked",
		"inner.service":  "no unit", // a folder within a unit is its own affair
		"own.service":    "no unit", // of a user's systemd
		"-.slice":        "not the name of a unit",
		"a.timer":        "not the name of a unit",
		"../x.service":   "not the name of a unit",
		"a b.service":    "not the name of a unit",
		"my-pool@.other": "not the name of a unit",
	} {
		if got, err := s.path(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
}

// No name of a unit leads out of the tree.
func FuzzUnits(f *testing.F) {
	for _, seed := range []string{"a.service", "a-b.slice", "a@b.service", "../a.service", "a@../b.service", "-.slice", "a--b.slice"} {
		f.Add(seed)
	}
	tree := f.TempDir()
	s := systemd{files: f.TempDir(), cgroups: func() (string, error) { return tree, nil }}
	f.Fuzz(func(t *testing.T, name string) {
		if path, err := s.path(name); err == nil && (path == "" || filepath.Clean(path) != path || !filepath.IsLocal(path)) {
			t.Errorf("%q is at %q", name, path)
		}
	})
}
