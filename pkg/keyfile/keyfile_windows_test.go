package keyfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/windows"
)

// open lets everybody read, and with rights GA do all, on top of us.
func open(t *testing.T, path, rights string) {
	t.Helper()
	sd, err := windows.SecurityDescriptorFromString(private + "(A;;" + rights + ";;;WD)")
	if err != nil {
		t.Fatal(err)
	}
	dacl, _, err := sd.DACL()
	if err == nil {
		err = windows.SetNamedSecurityInfo(path, windows.SE_FILE_OBJECT,
			windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, nil, nil, dacl, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestAccessListsCount(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	for range 2 {
		if err := Dir(dir); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "a.key")
	for _, want := range []string{"one", "two"} {
		if err := Write(path, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(path); err != nil || string(got) != want {
			t.Fatalf("read %q, %v; want %q", got, err, want)
		}
	}
	if err := Create(path, []byte("three")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create over a file: %v, want fs.ErrExist", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("temporary files are left: %v", left)
	}

	open(t, path, "FR")
	if _, err := Read(path); !errors.Is(err, ErrExposed) || !strings.Contains(err.Error(), "icacls") || !strings.Contains(err.Error(), "/remove:g *S-1-1-0 ") {
		t.Errorf("a file that everybody may read: %v", err)
	}
	if _, err := ReadPublic(path); err != nil {
		t.Errorf("what may be public: %v", err)
	}
	open(t, path, "FA")
	if _, err := ReadPublic(path); !errors.Is(err, ErrExposed) {
		t.Errorf("a file that everybody may write: %v", err)
	}
	if err := Write(path, []byte("four")); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err != nil {
		t.Errorf("written anew: %v", err)
	}
	open(t, dir, "FR")
	if err := Dir(dir); !errors.Is(err, ErrExposed) || !strings.Contains(err.Error(), "(OI)(CI)F") {
		t.Errorf("a folder that everybody may look into: %v", err)
	}
}

func TestReadRefusesOthersThanFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	if err := Dir(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); !errors.Is(err, ErrExposed) || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := Read(filepath.Join(dir, "a.key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing there: %v", err)
	}
	large := filepath.Join(dir, "large")
	if err := Write(large, make([]byte, maxSize+1)); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(large); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("too large: %v", err)
	}
}
