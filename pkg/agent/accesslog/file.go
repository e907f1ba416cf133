package accesslog

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// A file is a destination on the host. It is opened anew when its path has
// become another file, so that whoever rotates it need not tell the agent.
type file struct {
	path string
	f    *os.File
	// standing says that f is not ours to close.
	standing bool
	looked   time.Time // when path and f were last compared
}

// openFlags let nobody hold the open up: without O_NONBLOCK a pipe that nobody
// reads would.
const openFlags = syscall.O_NONBLOCK

// lookAgain is how often a path is compared with the open file.
const lookAgain = time.Second

// newFile opens nothing. The agent's own output may be a socket, which cannot
// be opened by its path.
func newFile(path string) (*file, error) {
	switch path {
	case "":
		return nil, errors.New("a file without a path")
	case "/dev/stdout":
		return &file{path: path, f: os.Stdout, standing: true}, nil
	case "/dev/stderr":
		return &file{path: path, f: os.Stderr, standing: true}, nil
	}
	return &file{path: path}, nil
}

func (d *file) open(context.Context) (fresh bool, err error) {
	if d.moved() {
		d.close()
	}
	if d.f != nil {
		return false, nil
	}
	f, err := os.OpenFile(d.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|openFlags, 0o640)
	if err != nil {
		return true, err
	}
	d.f, d.looked = f, time.Now()
	return true, nil
}

func (d *file) write(ctx context.Context, p []byte) (n int, err error) {
	if d.f.SetWriteDeadline(time.Now().Add(writeTimeout)) == nil { // a pipe
		stop := context.AfterFunc(ctx, expire(d.f))
		defer stop()
	}
	n, err = d.f.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		d.close()
	}
	return n, err
}

// moved tells whether the path leads to another file now, or to none.
func (d *file) moved() bool {
	if d.f == nil || d.standing || time.Since(d.looked) < lookAgain {
		return false
	}
	d.looked = time.Now()
	there, err := os.Stat(d.path)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	open, err := d.f.Stat()
	return err == nil && !os.SameFile(there, open)
}

func (d *file) close() {
	if d.f != nil && !d.standing {
		_ = d.f.Close()
		d.f = nil
	}
}
