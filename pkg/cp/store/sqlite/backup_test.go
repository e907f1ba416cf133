package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// TestBackup copies a store that is written to, and opens the copy: it holds a
// moment of the feed, no more and no less.
func TestBackup(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var wg sync.WaitGroup
	quit := make(chan struct{})
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-quit:
					return
				default:
				}
				if _, err := s.Put(t.Context(), secret(fmt.Sprintf("s-%d-%d", w, i), "x")); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	waitVersion(t, s, 20)
	before := version(t, s)
	copied := t.TempDir()
	file := filepath.Join(copied, fileName)
	if err := Backup(t.Context(), dir, file); err != nil {
		t.Fatal(err)
	}
	after := version(t, s)
	close(quit)
	wg.Wait()
	if err := Backup(t.Context(), dir, file); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a backup over another: error %v, want %v", err, fs.ErrExist)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	restored := open(t, copied)
	page, err := restored.List(t.Context(), store.Query{})
	if err != nil || page.At < before || page.At > after || page.Total != int(page.At) {
		t.Errorf("the backup holds %d at version %d, %v; it was made between %d and %d", page.Total, page.At, err, before, after)
	}
	wantWholeFeed(t, restored, page.At)
	if _, err := restored.Put(t.Context(), secret("after", "x")); err != nil {
		t.Errorf("the restored store takes no write: %v", err)
	}
}

func TestStatus(t *testing.T) {
	dir := t.TempDir()
	s, err := Status(t.Context(), dir)
	if err != nil || s.Version != 0 || s.Newest != len(migrations) {
		t.Errorf("of nothing: %+v, %v", s, err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("Status made %v", left)
	}
	if err := Backup(t.Context(), dir, filepath.Join(t.TempDir(), "x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a backup of nothing: %v", err)
	}
	if was, err := Migrate(t.Context(), dir, slog.New(slog.DiscardHandler)); err != nil || was.Version != 0 {
		t.Errorf("migrate: was %+v, %v", was, err)
	}
	if was, err := Migrate(t.Context(), dir, slog.New(slog.DiscardHandler)); err != nil || was.Version != len(migrations) {
		t.Errorf("migrate again: was %+v, %v", was, err)
	}
	running := open(t, dir)
	if s, err := Status(t.Context(), dir); err != nil || s.Version != len(migrations) {
		t.Errorf("beside a control plane: %+v, %v", s, err)
	}
	if _, err := running.Put(t.Context(), secret("s", "x")); err != nil {
		t.Error(err)
	}
}

func version(t *testing.T, s *Store) mesh.Version {
	t.Helper()
	page, err := s.List(t.Context(), store.Query{Size: 1})
	if err != nil {
		t.Fatal(err)
	}
	return page.At
}

func waitVersion(t *testing.T, s *Store, v mesh.Version) {
	t.Helper()
	ch, err := s.Watch(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for c := range ch {
		if c.Version >= v {
			return
		}
	}
}

func wantWholeFeed(t *testing.T, s *Store, at mesh.Version) {
	t.Helper()
	ch, err := s.Watch(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for want := mesh.Version(1); want <= at; want++ {
		if c := <-ch; c.Version != want {
			t.Fatalf("the feed has version %d, want %d", c.Version, want)
		}
	}
}
