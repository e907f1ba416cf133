// Package keyfile keeps secrets in files that only their owner can read.
//
// Files are written aside and put in place in one step, so that a crash leaves
// the old content or the new and never a part. What others could have read,
// changed or pointed elsewhere is refused on reading. On Windows access lists
// say what modes say elsewhere, and administrators and the system are no others,
// as root is not.
package keyfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/weft-mesh/weft/pkg/failpoint"
)

// ErrExposed is what the errors about a file or folder that is not its owner's
// alone wrap.
var ErrExposed = errors.New("not its owner's alone")

// maxSize bounds what is read: keys and certificates are a few kB.
const maxSize = 1 << 20

// Read returns a secret's content. It fails with fs.ErrNotExist, and with
// ErrExposed for a symlink, for anything but a regular file, for a file of
// another user and for one that others can read or write.
func Read(path string) ([]byte, error) { return read(path, 0o077, maxSize) }

// ReadLarge is Read for a file of up to limit bytes, where Read's own bound of
// 1 MiB is too low. A larger one is refused unread.
func ReadLarge(path string, limit int64) ([]byte, error) { return read(path, 0o077, limit) }

// ReadPublic is Read for what need not be secret, such as a certificate: others
// may read it, but not write it.
func ReadPublic(path string) ([]byte, error) { return read(path, 0o022, maxSize) }

func read(path string, forbidden fs.FileMode, limit int64) ([]byte, error) {
	f, err := openNoFollow(path)
	if err != nil {
		if isLink(path) {
			return nil, fmt.Errorf("read %s: it is a symbolic link: put the file itself there: %w", path, ErrExposed)
		}
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := check(path, info, forbidden, "chmod 600 "+path); err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: it is no regular file but %s: %w", path, info.Mode().Type(), ErrExposed)
	}
	tooLarge := fmt.Errorf("read %s: it is larger than %d bytes and so is not what should be there", path, limit)
	if info.Size() > limit {
		return nil, tooLarge
	}
	data := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead)) // MinRead: to meet the end without growing
	if _, err := data.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if int64(data.Len()) > limit {
		return nil, tooLarge
	}
	return data.Bytes(), nil
}

func isLink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

// Dir makes the folder with mode 0700 unless it is there, and fails with
// ErrExposed where others may look into it or it is a symlink.
func Dir(path string) error { return folder(path, 0o077) }

// Passage is Dir for a folder that holds, beside what is its owner's alone, what
// others are given by its full name: they may pass through it (0711), but not
// look into it.
func Passage(path string) error { return folder(path, 0o066) }

func folder(path string, forbidden fs.FileMode) error {
	if err := makeDir(path); err != nil {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is a symbolic link: name the folder itself: %w", path, ErrExposed)
	}
	return check(path, info, forbidden, "chmod 700 "+path)
}

// Write replaces path's content in one step and with mode 0600.
func Write(path string, data []byte) error { return place(path, data, rename) }

// Create is Write for what must never be replaced: it fails with fs.ErrExist
// when path is there.
func Create(path string, data []byte) error { return place(path, data, os.Link) }

func place(path string, data []byte, put func(from, to string) error) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // a no-op once renamed
	if err = shut(tmp.Name()); err == nil {
		_, err = tmp.Write(data)
	}
	_ = failpoint.At(failpoint.FileWrite)
	if err = errors.Join(err, tmp.Sync(), tmp.Close(), failpoint.At(failpoint.FileSync)); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := put(tmp.Name(), path); err != nil {
		return err
	}
	_ = failpoint.At(failpoint.FilePlace)
	return Sync(dir)
}

// Rename puts a file of the same folder in another's place, durably.
func Rename(from, to string) error {
	if err := rename(from, to); err != nil {
		return err
	}
	return Sync(filepath.Dir(to))
}
