//go:build unix

package agent

import (
	"errors"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// errLocked is what lockFile fails with where another process has the lock.
var errLocked error = unix.EWOULDBLOCK

// removesOpen: a file can be removed while somebody has it open.
const removesOpen = true

// openLock follows no link: what it opens is written to, unless the disk is
// read-only.
func openLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if errors.Is(err, unix.EROFS) {
		return os.OpenFile(path, os.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	}
	return f, err
}

// inode is a file's number on its disk.
func inode(f *os.File) string {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "?"
	}
	return strconv.FormatUint(st.Ino, 10)
}

func lockFile(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

// endProcess asks an agent to drain and end; one that is gone has.
func endProcess(pid int) error {
	if err := unix.Kill(pid, syscall.SIGINT); !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}
