//go:build linux

package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// TestDiskFull fills the disk beneath the store, and takes the filling away
// again; then it makes the disk read-only for a while.
func TestDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small disk takes root")
	}
	disk := t.TempDir()
	if err := syscall.Mount("weft-test", disk, "tmpfs", 0, "size=16m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	s := open(t, filepath.Join(disk, "cp"))
	defer closeStore(t, s)
	kept, err := s.Put(t.Context(), secret("kept", "x"))
	if err != nil {
		t.Fatal(err)
	}
	feed, err := s.Watch(t.Context(), kept.Meta.Version)
	if err != nil {
		t.Fatal(err)
	}
	filling := filepath.Join(disk, "filling")
	if err := os.WriteFile(filling, make([]byte, 14<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("x", 300<<10)
	var acked []mesh.Key
	for i := 0; ; i++ {
		r, err := s.Put(t.Context(), secret(fmt.Sprintf("s%d", i), large))
		if err == nil && i < 100 {
			acked = append(acked, r.Key())
			continue
		}
		if !errors.Is(err, store.ErrFull) || !strings.Contains(err.Error(), "make room") {
			t.Fatalf("after %d writes: error %v, want one that wraps %q", i, err, store.ErrFull)
		}
		break
	}
	select {
	case <-s.Failed():
		t.Fatal("a full disk is taken for a broken one")
	default:
	}
	for _, k := range append(acked, kept.Key()) {
		if _, err := s.Get(t.Context(), k); err != nil {
			t.Errorf("reading on a full disk: %v", err)
		}
	}
	if err := os.Remove(filling); err != nil {
		t.Fatal(err)
	}
	after, err := s.Put(t.Context(), secret("after", "x"))
	if err != nil {
		t.Fatalf("there is room again: %v", err)
	}
	for range acked {
		<-feed
	}
	if c := <-feed; c.Version != after.Meta.Version {
		t.Errorf("the feed says version %d, want %d: a refused write left a trace", c.Version, after.Meta.Version)
	}
	t.Logf("disk full: writes acknowledged %d, refused 1, lost 0", len(acked)+2)
}

// TestDiskFails lets a commit fail as a disk does: nothing is acknowledged any
// more, also where the disk has come back.
func TestDiskFails(t *testing.T) {
	s := open(t, t.TempDir())
	if _, err := s.Put(t.Context(), secret("before", "x")); err != nil {
		t.Fatal(err)
	}
	if err := s.failed.judge(fmt.Errorf("commit: %w", errDisk)); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("error %v, want one that wraps %q", err, store.ErrUnavailable)
	}
	select {
	case <-s.Failed():
	default:
		t.Error("nobody is told")
	}
	if _, err := s.Put(t.Context(), secret("after", "x")); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "started again") {
		t.Errorf("error %v, want one that wraps %q", err, store.ErrUnavailable)
	}
	if _, err := s.Get(t.Context(), secret("before", "").Key()); err != nil {
		t.Errorf("reading: %v", err)
	}
}
