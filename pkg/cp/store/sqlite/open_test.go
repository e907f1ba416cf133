package sqlite

import (
	"database/sql"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// refused opens dir and wants words in the error.
func refused(t *testing.T, dir string, kind error, words ...string) {
	t.Helper()
	s, err := Open(t.Context(), dir, slog.New(slog.DiscardHandler))
	if err == nil {
		closeStore(t, s)
		t.Fatalf("Open(%s) succeeded, want %v", dir, kind)
	}
	if !errors.Is(err, kind) {
		t.Errorf("error is %v, want one that wraps %q", err, kind)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q lacks %q", err, w)
		}
	}
}

func TestFilesArePrivate(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := filepath.Join(t.TempDir(), "made", "by itself")
	s := open(t, dir)
	if _, err := s.Put(t.Context(), secret("s", "x")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{
		"": 0o700 | fs.ModeDir, fileName: 0o600, fileName + "-wal": 0o600, fileName + "-shm": 0o600, lockName: 0o600,
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("mode of %q is %s, want %s", name, info.Mode(), want)
		}
	}
}

func TestLooseModeIsMended(t *testing.T) {
	dir := t.TempDir()
	closeStore(t, open(t, dir))
	file := filepath.Join(dir, fileName)
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
}

func TestOddDirectoryName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a?b#c%20d e=f&_pragma=x")
	s := open(t, dir)
	if _, err := s.Put(t.Context(), secret("s", "x")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, fileName)); err != nil {
		t.Error(err)
	}
}

func TestCommitsWaitForTheDisk(t *testing.T) {
	s := open(t, t.TempDir())
	for _, db := range []*sql.DB{s.write, s.read} {
		var mode, synchronous string
		err := errors.Join(
			db.QueryRow("PRAGMA journal_mode").Scan(&mode),
			db.QueryRow("PRAGMA synchronous").Scan(&synchronous))
		if err != nil || mode != "wal" || synchronous != "2" { // 2 is FULL
			t.Errorf("journal mode %q, synchronous %q, %v; want wal and 2", mode, synchronous, err)
		}
	}
}

func TestSecondOneIsRefused(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir)
	refused(t, dir, ErrInUse, dir, "process "+strconv.Itoa(os.Getpid()), "stop that one")
	if _, err := first.Put(t.Context(), secret("s", "x")); err != nil {
		t.Errorf("the first one is disturbed: %v", err)
	}
	closeStore(t, first)
	open(t, dir)
}

func TestNewerSchemaIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := s.write.Exec("UPDATE schema SET version = 99"); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	refused(t, dir, store.ErrNewer, "schema 99", "knows up to 1", "backup")
	refused(t, dir, store.ErrNewer) // and not ErrInUse: the lock was given back
}

func TestDamagedFileIsRefused(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, file string){
		"no database": func(t *testing.T, file string) {
			if err := os.WriteFile(file, []byte(strings.Repeat("no database at all. ", 500)), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"pages overwritten": func(t *testing.T, file string) {
			f, err := os.OpenFile(file, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for page := int64(1); page < 40; page++ {
				if _, err := f.WriteAt([]byte("garbage garbage garbage"), page*4096); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			for i := range 50 {
				if _, err := s.Put(t.Context(), secret(strconv.Itoa(i), strings.Repeat("x", 4000))); err != nil {
					t.Fatal(err)
				}
			}
			closeStore(t, s)
			damage(t, filepath.Join(dir, fileName))
			refused(t, dir, ErrDamaged, fileName, "backup")
		})
	}
}

func TestDataDirNotWritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, file, syscall.ENOTDIR, file, "not writable", "choose another data directory")

	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // on a thread of its own, which ends with its user
		defer close(done)
		runtime.LockOSThread()
		if os.Geteuid() == 0 { // root may write everywhere, so be somebody else
			if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), syscall.Setfsuid(65534)); err != nil {
				t.Error(err)
				return
			}
		}
		_, err := Open(t.Context(), dir, slog.New(slog.DiscardHandler))
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "give it to the user that runs the control plane") {
			t.Errorf("error is %v, want one that says whom to give the directory", err)
		}
	}()
	<-done
}

func TestUnknownKindsAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for _, name := range []string{"a", "b"} {
		if _, err := s.Put(t.Context(), secret(name, "x")); err != nil {
			t.Fatal(err)
		}
	}
	for _, table := range []string{"revisions", "current"} {
		if _, err := s.write.Exec("UPDATE " + table + " SET kind = 'FromTheFuture' WHERE name = 'b'"); err != nil {
			t.Fatal(err)
		}
	}
	wantNames(t, s, "a")
	ch, err := s.Watch(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), secret("c", "x")); err != nil {
		t.Fatal(err)
	}
	if c := <-ch; c.Key.Name != "c" {
		t.Errorf("the watch sent %s, want c", c.Key)
	}
}

func secret(name, data string) mesh.Resource {
	return mesh.Resource{
		Kind: mesh.SecretKind,
		Meta: mesh.Meta{Mesh: "default", Name: name},
		Spec: &mesh.Secret{Data: []byte(data)},
	}
}
