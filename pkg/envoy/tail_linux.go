package envoy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Envoy writes its log to a file, not to a pipe: a pipe that nobody reads
// blocks who writes to it, and this program may be away. What was passed on is
// punched out of the file, so that it takes no room, and the next agent begins
// at the first byte that is not zero.
const (
	logPrefix = "envoy-"
	logSuffix = ".log"
	// maxBacklog is how much of what Envoy wrote while nobody read it is
	// passed on, in bytes.
	maxBacklog = 1 << 20
)

// newLog makes the file for the log of an Envoy that is to start.
func (p *Process) newLog(epoch int) (*os.File, error) {
	name := fmt.Sprintf("%s%d-%d%s", logPrefix, epoch, time.Now().UnixNano(), logSuffix)
	f, err := os.OpenFile(filepath.Join(p.cfg.Dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make envoy's log: %w", err)
	}
	return f, nil
}

// logOf is the file that an Envoy writes to: what its standard error is or,
// where the kernel does not let us see that, the last that was made for its epoch.
func (p *Process) logOf(pid, epoch int) (string, error) {
	if path, err := os.Readlink(procFile(pid, "fd/2")); err == nil && filepath.Base(path) != path {
		path = filepath.Join(p.cfg.Dir, filepath.Base(path))
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	files, err := filepath.Glob(filepath.Join(p.cfg.Dir, fmt.Sprintf("%s%d-*%s", logPrefix, epoch, logSuffix)))
	if err != nil || len(files) == 0 {
		return "", fmt.Errorf("find envoy's log in %s: %w", p.cfg.Dir, os.ErrNotExist)
	}
	return slices.Max(files), nil
}

// A tail passes on what is written to a file.
type tail struct {
	file   *os.File
	writes *os.File // an inotify descriptor
	at     int64    // what is before was passed on
	out    *logLines
	done   chan struct{} // closed when the last was passed on
	rest   bool          // what is there at the end is passed on too
	gone   bool          // punching does not work here
}

// follow begins to pass on the file's lines.
func (p *Process) follow(ctx context.Context, path string) (*tail, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("read envoy's log: %w", err)
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("watch envoy's log: %w", err)
	}
	t := &tail{
		file: f, writes: os.NewFile(uintptr(fd), "inotify"), done: make(chan struct{}),
		out: &logLines{ctx: context.WithoutCancel(ctx), log: p.log},
	}
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_MODIFY); err != nil {
		_ = errors.Join(f.Close(), t.writes.Close())
		return nil, fmt.Errorf("watch envoy's log: %w", err)
	}
	if skipped := t.begin(); skipped > 0 {
		p.log.Warn("envoy wrote more than is passed on while no agent read its log", "skipped bytes", skipped)
	}
	go t.run()
	return t, nil
}

// begin finds where what was not passed on begins, and leaves out what is too
// much of it.
func (t *tail) begin() (skipped int64) {
	if at, err := unix.Seek(int(t.file.Fd()), 0, unix.SEEK_DATA); err == nil {
		t.at = at
	}
	block := make([]byte, 64<<10)
	for {
		n, err := t.file.ReadAt(block, t.at)
		if i := bytes.IndexFunc(block[:n], func(r rune) bool { return r != 0 }); i >= 0 {
			t.at += int64(i)
			break
		}
		t.at += int64(n)
		if err != nil {
			break
		}
	}
	if info, err := t.file.Stat(); err == nil && info.Size()-t.at > maxBacklog {
		skipped = info.Size() - t.at - maxBacklog
		t.at += skipped
	}
	return skipped
}

// run ends when writes is closed.
func (t *tail) run() {
	defer close(t.done)
	events := make([]byte, 4<<10)
	for {
		t.pass()
		if _, err := t.writes.Read(events); err != nil {
			break
		}
	}
	if t.rest {
		t.pass()
		t.out.flush()
	}
}

// pass passes on what there is.
func (t *tail) pass() {
	block := make([]byte, 16<<10)
	before := t.at
	for {
		n, err := t.file.ReadAt(block, t.at)
		t.at += int64(n)
		_, _ = t.out.Write(block[:n]) // never fails
		if err != nil {
			break
		}
	}
	if t.at == before || t.gone {
		return
	}
	// The start of a line whose end has not come stays.
	whole := t.at - int64(min(len(t.out.line), maxLine))
	if err := unix.Fallocate(int(t.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, max(whole, 1)); err != nil {
		t.erase(before, whole)
	}
}

// erase does on file systems that cannot punch what matters: it marks as zero
// what was passed on.
func (t *tail) erase(from, to int64) {
	zero := make([]byte, 4<<10)
	for from < to {
		n, err := t.file.WriteAt(zero[:min(int64(len(zero)), to-from)], from)
		if err != nil {
			t.gone = true
			return
		}
		from += int64(n)
	}
}

// leave stops passing on; the next agent goes on from here.
func (t *tail) leave() {
	_ = t.writes.Close()
	<-t.done
	_ = t.file.Close()
}

// finish passes on the rest of what an Envoy wrote that has ended, and removes
// the file.
func (t *tail) finish() {
	t.rest = true // seen by run after Close
	t.leave()
	_ = os.Remove(t.file.Name())
}

var _ io.Writer = (*logLines)(nil)
