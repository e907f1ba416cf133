//go:build unix

package keyfile

import (
	"io/fs"
	"os"
	"syscall"
)

// modes: a file's mode bits say who may read it.
const modes = true

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
