//go:build unix

package dns

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// resolv.conf is a link on most hosts, and what it leads to changes in many
// ways; each is seen without waiting for the next look.
func TestResolvConfIsALink(t *testing.T) {
	dir := t.TempDir()
	write := func(name, server string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("nameserver "+server+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(filepath.Join(dir, "run"), 0o755))
	write("run/a", "192.0.2.1")
	must(os.Symlink("run/a", filepath.Join(dir, "middle")))
	must(os.Symlink("middle", filepath.Join(dir, "resolv.conf")))
	c := &resolvConf{path: filepath.Join(dir, "resolv.conf"), port: 53}
	ended := make(chan error, 1)
	ctx := t.Context()
	go func() { ended <- c.watch(ctx) }()
	now := time.Now() // stands still: only what was told of is looked at
	is := func(what, want string) {
		t.Helper()
		for deadline := time.Now().Add(patience); ; {
			servers, err := c.get(now)
			if err == nil && len(servers) == 1 && servers[0].Addr().String() == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %v, %v, want %s", what, servers, err, want)
			}
		}
	}
	is("at first", "192.0.2.1")
	write("run/a", "192.0.2.2")
	is("written in place", "192.0.2.2")
	must(os.Rename(write("run/new", "192.0.2.3"), filepath.Join(dir, "run/a")))
	is("replaced where the links lead", "192.0.2.3")
	write("run/b", "192.0.2.4")
	must(os.Symlink("run/b", filepath.Join(dir, "middle.new")))
	must(os.Rename(filepath.Join(dir, "middle.new"), filepath.Join(dir, "middle")))
	is("a link on the way replaced", "192.0.2.4")
	must(os.Rename(write("resolv.conf.new", "192.0.2.5"), filepath.Join(dir, "resolv.conf")))
	is("a file in place of the link", "192.0.2.5")
}
