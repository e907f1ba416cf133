//go:build unix

package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

func systemVersion() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown system"
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}

// ownerOf is whose a file is.
func ownerOf(info fs.FileInfo) string {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("%d:%d", st.Uid, st.Gid)
	}
	return "?"
}

// fewBytes is below how much free space a folder is as good as full.
const fewBytes = 16 << 20

func examineDisk(_ context.Context, p patient) (checks []Check) {
	for _, dir := range []string{p.cfg.StateDir, p.cfg.RunDir} {
		var st unix.Statfs_t
		err := unix.Statfs(dir, &st)
		switch free := st.Bavail * uint64(st.Bsize); {
		case errors.Is(err, fs.ErrNotExist):
			continue // made by join, or by the agent
		case err != nil:
			checks = append(checks, ill("see that it can be read", "%s: %s", dir, err)...)
		case unix.Access(dir, unix.W_OK) != nil:
			checks = append(checks, ill("mount it for writing (mount -o remount,rw), or give it to the agent's user", "%s cannot be written", dir)...)
		case free < fewBytes:
			checks = append(checks, ill("make room; the running agent goes on, but a restart would find less than it needs", "%s has %d MiB left", dir, free>>20)...)
		case st.Files > 0 && st.Ffree < 100:
			checks = append(checks, ill("remove files", "%s has %d inodes left", dir, st.Ffree)...)
		}
	}
	if len(checks) == 0 {
		return fine("%s and %s have room", p.cfg.StateDir, p.cfg.RunDir)
	}
	return checks
}
