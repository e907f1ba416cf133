package identity

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/pkg/keyfile"
)

// A folder is where an identity outlives the process.
type folder struct {
	dir   string
	log   *slog.Logger // nil: nothing is moved aside
	aside []string     // what was passed over, for people
}

// Each file has the one before it beside it; a renewed certificate is good for
// half of its life when its file becomes that.
const (
	beforeSuffix = ".before"
	nextSuffix   = ".next"
	badMark      = ".bad-"
	maxAside     = 2 // files moved aside that are left lying, of each name
)

func (f *folder) path(name string) string { return filepath.Join(f.dir, name+".pem") }

// save puts a file in place of the newest, and that in place of the one before.
// A crash leaves one of the two, whole.
func (f *folder) save(name, owner string, d document) error {
	data, err := d.encode(name + ":" + owner)
	if err != nil {
		return err
	}
	path := f.path(name)
	if err := keyfile.Write(path+nextSuffix, data); err != nil {
		return err
	}
	if err := os.Rename(path, path+beforeSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return keyfile.Rename(path+nextSuffix, path)
}

// load reads the newest file of that name that is whole and that check takes.
// Others are moved aside and told. It fails with fs.ErrNotExist where there never was one, and
// with keyfile.ErrExposed where others could have read a key: that is no
// accident of the disk, and somebody has to look.
func (f *folder) load(name string, check func(owner string, d document) error) error {
	ruined := fs.ErrNotExist
	for _, path := range []string{f.path(name), f.path(name) + beforeSuffix} {
		err := f.read(path, name, check)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, keyfile.ErrExposed):
			return err
		}
		f.discard(path, err)
		ruined = fmt.Errorf("%s: %w", path, err)
	}
	return ruined
}

func (f *folder) read(path, name string, check func(owner string, d document) error) error {
	// Not a file, and so nobody's key: passed over like any ruin.
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("it is no regular file but %s", info.Mode().Type())
	}
	data, err := keyfile.Read(path)
	if err != nil {
		return err
	}
	owner, d, err := decode(data)
	if err != nil {
		return err
	}
	owner, ok := strings.CutPrefix(owner, name+":")
	if !ok {
		return fmt.Errorf("it is not the %s's", name)
	}
	return check(owner, d)
}

// discard moves a file aside, as evidence. Where that cannot be done it is
// passed over all the same.
func (f *folder) discard(path string, why error) {
	f.aside = append(f.aside, fmt.Sprintf("%s: %v", filepath.Base(path), why))
	if f.log == nil {
		return
	}
	to := path + badMark + time.Now().UTC().Format("20060102T150405.000000")
	err := os.Rename(path, to)
	f.log.Error("file of the identity passed over", "file", path, "why", why, "moved_to", to, "error", err)
	old, err := filepath.Glob(path + badMark + "*")
	if err != nil {
		return
	}
	slices.Sort(old)
	for len(old) > maxAside {
		_ = os.Remove(old[0])
		old = old[1:]
	}
}

// forget removes all files of that name. It succeeds when there is none.
func (f *folder) forget(name string) error {
	all, err := filepath.Glob(f.path(name) + "*")
	errs := []error{err}
	for _, path := range all {
		rest := strings.TrimPrefix(strings.TrimPrefix(path, f.path(name)), beforeSuffix)
		if rest == "" || rest == nextSuffix || strings.HasPrefix(rest, badMark) {
			errs = append(errs, removeFile(path))
		}
	}
	return errors.Join(errs...)
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
