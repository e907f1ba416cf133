//go:build linux

package cgroup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// comings are the events of a folder that make or take what is in it.
const comings = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE_SELF | unix.IN_ONLYDIR

// Watch calls changed, from now on until ctx ends, when a path's folder is made,
// taken away or made anew: with the ids of those that are there, and whether one
// came. A folder that is only gone can wait, as nobody is in it. Other folders that come and go cost a look each.
// Without paths it does nothing.
func Watch(ctx context.Context, changed func(now map[string]uint64, came bool), paths ...string) error {
	if len(paths) == 0 {
		return nil
	}
	w, err := newWatch(paths)
	if err != nil {
		return fmt.Errorf("hear of changes to cgroups: %w", err)
	}
	before, err := w.look()
	if err != nil {
		return errors.Join(fmt.Errorf("hear of changes to cgroups: %w", err), w.events.Close())
	}
	context.AfterFunc(ctx, func() { _ = w.events.Close() }) // ends the reader
	go func() {
		const room = 64 << 10 // bytes: several hundred events
		buffer := make([]byte, room)
		for {
			if _, err := w.events.Read(buffer); err != nil {
				return
			}
			// What happened is of no interest, only what is there now.
			now, err := w.look()
			if err != nil || maps.Equal(now, before) {
				continue
			}
			came := false
			for path, id := range now {
				came = came || before[path] != id
			}
			before = now
			changed(now, came)
		}
	}()
	return nil
}

// A watch hears of the nearest folders above paths that are there.
type watch struct {
	root   string
	paths  []string
	events *os.File
}

func newWatch(paths []string) (*watch, error) {
	root, err := Root()
	if err != nil {
		return nil, err
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return &watch{root: root, paths: paths, events: os.NewFile(uintptr(fd), "inotify")}, nil
}

// look listens first and finds then, so that nothing falls in between.
func (w *watch) look() (map[string]uint64, error) {
	conn, err := w.events.SyscallConn()
	if err != nil {
		return nil, err
	}
	for _, p := range w.paths {
		var watchErr error
		if err := conn.Control(func(fd uintptr) { watchErr = w.above(int(fd), p) }); err != nil {
			return nil, err
		}
		if watchErr != nil {
			return nil, watchErr
		}
	}
	return IDs(w.root, w.paths)
}

// above listens at the folders above a path, from the root down to the first
// that is not there, whose coming the one before it tells. A folder that is
// listened at already stays so.
func (w *watch) above(fd int, path string) error {
	dir := w.root
	for _, name := range strings.Split(path, "/") {
		_, err := unix.InotifyAddWatch(fd, dir, comings)
		if gone(err) {
			return nil
		}
		if err != nil {
			return &os.PathError{Op: "watch", Path: dir, Err: err}
		}
		dir = filepath.Join(dir, name)
	}
	return nil
}
