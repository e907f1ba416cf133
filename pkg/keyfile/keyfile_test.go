//go:build unix

package keyfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestWriteAndRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.key")
	for _, want := range []string{"one", "two"} {
		if err := Write(path, []byte(want)); err != nil {
			t.Fatal(err)
		}
		got, err := Read(path)
		if err != nil || string(got) != want {
			t.Fatalf("read %q, %v; want %q", got, err, want)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v; want 0600", info.Mode(), err)
	}
	if err := Create(path, []byte("three")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create over a file: %v, want fs.ErrExist", err)
	}
	if got, _ := Read(path); string(got) != "two" {
		t.Errorf("create replaced the file by %q", got)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("temporary files are left: %v", left)
	}
}

func TestReadRefuses(t *testing.T) {
	tests := []struct {
		name string
		make func(t *testing.T, path string)
		want string // in the message
	}{
		{"readable by others", func(t *testing.T, p string) { file(t, p, 0o644) }, "chmod 600"},
		{"writable by the group", func(t *testing.T, p string) { file(t, p, 0o620) }, "mode 0620"},
		{"symlink", func(t *testing.T, p string) {
			file(t, p+".real", 0o600)
			must(t, os.Symlink(p+".real", p))
		}, "symbolic link"},
		{"fifo", func(t *testing.T, p string) { must(t, syscall.Mkfifo(p, 0o600)) }, "no regular file"},
		{"folder", func(t *testing.T, p string) { must(t, os.Mkdir(p, 0o700)) }, "no regular file"},
		{"another user's", func(t *testing.T, p string) {
			file(t, p, 0o600)
			must(t, os.Chown(p, 65534, 65534))
		}, "belongs to user 65534"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.key")
			tt.make(t, path)
			_, err := Read(path)
			if !errors.Is(err, ErrExposed) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want ErrExposed with %q", err, tt.want)
			}
		})
	}
	t.Run("absent", func(t *testing.T) {
		if _, err := Read(filepath.Join(t.TempDir(), "a.key")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("error %v, want fs.ErrNotExist", err)
		}
	})
	t.Run("sparse giant", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a.key")
		file(t, path, 0o600)
		must(t, os.Truncate(path, 2<<30))
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "larger than") {
			t.Errorf("error %v", err)
		}
	})
}

func TestReadPublicLetsOthersReadOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.crt")
	file(t, path, 0o644)
	if _, err := ReadPublic(path); err != nil {
		t.Error(err)
	}
	must(t, os.Chmod(path, 0o666))
	if _, err := ReadPublic(path); !errors.Is(err, ErrExposed) {
		t.Errorf("error %v, want ErrExposed", err)
	}
}

func TestDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	for range 2 {
		must(t, Dir(dir))
	}
	must(t, os.Chmod(dir, 0o755))
	if err := Dir(dir); !errors.Is(err, ErrExposed) || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("loose folder: %v", err)
	}
	must(t, os.Chmod(dir, 0o700))
	link := dir + "-link"
	must(t, os.Symlink(dir, link))
	if err := Dir(link); !errors.Is(err, ErrExposed) {
		t.Errorf("link to a folder: %v", err)
	}
}

func file(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	must(t, os.WriteFile(path, []byte("x"), 0o600))
	must(t, os.Chmod(path, mode))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
