//go:build unix

package agent

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// errLocked is what lockFile fails with where another process has the lock.
var errLocked error = unix.EWOULDBLOCK

// openLock follows no link: what it opens is truncated.
func openLock(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
}

func lockFile(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

// endProcess asks an agent to drain and end; one that is gone has.
func endProcess(pid int) error {
	if err := unix.Kill(pid, syscall.SIGINT); !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}
