//go:build linux

package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/pkg/redirect"
)

func TestFind(t *testing.T) {
	for _, c := range []struct{ name, mountinfo, want string }{
		{"unified", "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate", "/sys/fs/cgroup"},
		{"hybrid", "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw", "/sys/fs/cgroup/unified"},
		{"a space", `41 31 0:38 / /sys/fs/c\040g rw - cgroup2 cgroup2 rw`, "/sys/fs/c g"},
		{"legacy", "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd", ""},
	} {
		got, err := find(strings.NewReader(c.mountinfo))
		if got != c.want || (c.want == "") != errors.Is(err, redirect.ErrNotSupported) {
			t.Errorf("%s: %q, %v, want %q", c.name, got, err, c.want)
		}
	}
}

// A folder that is made anew has another id.
func TestID(t *testing.T) {
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, fmt.Sprintf("weft-test-%d-id", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.Remove(dir) }()
	path := filepath.Base(dir)
	first, ok, err := ID(root, path)
	if !ok || err != nil {
		t.Fatalf("%d, %t, %v", first, ok, err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := ID(root, path); ok || err != nil {
		t.Errorf("a folder that is gone: %t, %v", ok, err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if again, ok, err := ID(root, path); again == first || !ok || err != nil {
		t.Errorf("made anew it is %d, %t, %v, as before", again, ok, err)
	}
}
