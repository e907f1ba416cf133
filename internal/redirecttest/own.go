//go:build linux

package redirecttest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect/cgroup"
	"github.com/weft-mesh/weft/pkg/redirect/sockets"
)

// OwnCgroup moves this program, and so what it starts from now on, into a cgroup
// of the test's own, until the test ends, and returns its folder from the tree's
// root: programs that hang there see no other process of the machine.
func OwnCgroup(t testing.TB) (folder string) {
	t.Helper()
	root, err := cgroup.Root()
	if err != nil {
		t.Fatal(err)
	}
	self, err := sockets.Look(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	folder = filepath.Join(self.Cgroup, fmt.Sprintf("weft-test-own-%d", os.Getpid()))
	enter := func(folder string) error {
		return os.WriteFile(filepath.Join(root, folder, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0)
	}
	if err := errors.Join(os.Mkdir(filepath.Join(root, folder), 0o755), enter(folder)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := enter(self.Cgroup); err != nil {
			t.Error(err)
			return
		}
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.Now().Add(testnet.Patience); ; <-tick.C {
			err := os.Remove(filepath.Join(root, folder))
			if err == nil {
				return
			}
			if time.Now().After(deadline) { // somebody whom the test started lives on
				t.Error(err)
				return
			}
		}
	})
	return folder
}

// MountBPF mounts the bpf file system where systemd does on other machines,
// until the test ends.
func MountBPF(t testing.TB) {
	t.Helper()
	const at = "/sys/fs/bpf"
	var fs unix.Statfs_t
	if err := unix.Statfs(at, &fs); err != nil || fs.Type == unix.BPF_FS_MAGIC {
		return
	}
	if err := unix.Mount("bpf", at, "bpf", 0, "mode=0700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}
