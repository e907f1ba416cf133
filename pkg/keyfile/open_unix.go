//go:build unix

package keyfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// openNoFollow opens for reading; a symlink fails, a FIFO does not block.
func openNoFollow(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

func owned(info fs.FileInfo) (uid uint32, mine bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return st.Uid, int(st.Uid) == os.Geteuid()
}

func check(path string, info fs.FileInfo, forbidden fs.FileMode, remedy string) error {
	if info.Mode().Perm()&forbidden != 0 {
		return fmt.Errorf("%s has mode %04o, which lets others in: run `%s`, and take what was in it for known to others: %w",
			path, info.Mode().Perm(), remedy, ErrExposed)
	}
	if uid, mine := owned(info); !mine {
		return fmt.Errorf("%s belongs to user %d and not to the user of this process (%d): change its owner or run as its owner: %w",
			path, uid, os.Geteuid(), ErrExposed)
	}
	return nil
}

// makeDir makes a folder, and those above it that are missing.
func makeDir(path string) error { return os.MkdirAll(path, 0o700) }

// shut does nothing: new files are their owner's alone.
func shut(string) error { return nil }

func rename(from, to string) error { return os.Rename(from, to) }

// Sync makes a folder's entries durable.
func Sync(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
