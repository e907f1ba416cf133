package agent

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/windows"
)

// errLocked is what lockFile fails with where another process has the lock.
var errLocked error = windows.ERROR_LOCK_VIOLATION

// removesOpen: a file can be removed while somebody has it open.
const removesOpen = false

// openLock follows no link: what it opens is written to.
func openLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|windows.FILE_FLAG_OPEN_REPARSE_POINT, 0o600)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		_ = f.Close()
		return nil, errors.Join(err, fmt.Errorf("%s is no regular file: remove it", path))
	}
	return f, nil
}

// lockFile locks a byte behind the text, which others are to read meanwhile.
func lockFile(f *os.File) error {
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0,
		&windows.Overlapped{Offset: 1 << 20})
}

// endProcess reports that Windows has no way to ask a process to end.
func endProcess(pid int) error {
	return fmt.Errorf("a process (pid %d) cannot be asked to end: weft-agent service stop, or end it in its console by Ctrl+C", pid)
}

func inode(*os.File) string { return "?" }
