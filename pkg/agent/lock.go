package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A lock keeps a second agent off the same files. The kernel drops it with
// the process, so that a killed agent leaves nothing to clean up.
type lock struct{ file *os.File }

// errRunning tells which process holds the lock.
type errRunning struct {
	pid  int // 0: not known
	path string
}

func (e errRunning) Error() string {
	who := "another agent"
	if e.pid > 0 {
		who = fmt.Sprintf("another agent (pid %d)", e.pid)
	}
	return fmt.Sprintf("%s runs on the same files, by %s; stop it first, or give this one its own --state-dir, --run-dir, --redirect-table and ports", who, e.path)
}

// takeLock makes dir's lock ours until release. A held one is an errRunning.
func takeLock(dir string) (*lock, error) {
	path := filepath.Join(dir, "lock")
	f, err := openLock(path)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if err := lockFile(f); err != nil {
		defer f.Close()
		if !errors.Is(err, errLocked) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		text, _ := os.ReadFile(path)
		pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		return nil, errRunning{pid: pid, path: path}
	}
	l := &lock{file: f}
	if err := errors.Join(f.Truncate(0), writeAt(f, strconv.Itoa(os.Getpid())+"\n")); err != nil {
		l.release()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return l, nil
}

func writeAt(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}

// release gives the lock back. The file stays: whoever removed it could
// remove the one that somebody else has just locked.
func (l *lock) release() {
	if l != nil {
		_ = l.file.Close() // nothing was written
	}
}
