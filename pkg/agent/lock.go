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
		return nil, errRunning{pid: holder(f), path: path}
	}
	// A full disk, or one that is read-only, keeps no agent from its work: the
	// lock holds, and the kernel knows who has it.
	if n, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err == nil {
		_ = f.Truncate(int64(n))
	}
	return &lock{file: f}, nil
}

// holder is the process that has a lock, 0 where that is not known. What it
// wrote there counts unless the kernel knows better.
func holder(f *os.File) int {
	var text [32]byte
	n, _ := f.ReadAt(text[:], 0)
	said, _ := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	locks, _ := os.ReadFile("/proc/locks")
	var has []int
	for line := range strings.Lines(string(locks)) {
		// Source: proc_locks(5). The sixth is the file, as MAJOR:MINOR:INODE.
		w := strings.Fields(line)
		if len(w) < 6 || w[1] != "FLOCK" || !strings.HasSuffix(w[5], ":"+inode(f)) {
			continue
		}
		if pid, err := strconv.Atoi(w[4]); err == nil && pid > 0 {
			has = append(has, pid)
		}
	}
	if len(has) == 1 && has[0] != said {
		return has[0]
	}
	return said
}

// beforeRemoval gives the lock back where no file can be removed that is open.
func (l *lock) beforeRemoval() {
	if !removesOpen {
		l.release()
	}
}

// release gives the lock back. The file stays: whoever removed it could
// remove the one that somebody else has just locked.
func (l *lock) release() {
	if l != nil {
		_ = l.file.Close() // nothing was written
	}
}
