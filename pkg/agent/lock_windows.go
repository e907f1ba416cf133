package agent

import (
	"fmt"
	"os"

	"golang.org/x/sys/windows"
)

// errLocked is what lockFile fails with where another process has the lock.
var errLocked error = windows.ERROR_LOCK_VIOLATION

func openLock(path string) (*os.File, error) { return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) }

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
