package relay

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// peerUID returns the user on the other end of a unix socket, as the kernel
// noted when it connected.
func peerUID(conn net.Conn) (uint32, error) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return 0, fmt.Errorf("peer of %s: not a socket of the kernel's", conn.LocalAddr())
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("peer of %s: %w", conn.LocalAddr(), err)
	}
	var cred *unix.Ucred
	if cerr := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); cerr != nil {
		err = cerr
	}
	if err != nil {
		return 0, fmt.Errorf("peer of %s: %w", conn.LocalAddr(), err)
	}
	return cred.Uid, nil
}

// checkFolder fails unless dir is open to its owner only, and its owner is one
// of uids.
func checkFolder(dir string, uids []uint32) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("folder of socket: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case info.Mode().Type() != fs.ModeDir:
		return fmt.Errorf("%s is no folder: the socket needs one of its own", dir)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("folder %s is open to others (%#o): give the socket a folder of its own, or chmod 0700 it", dir, info.Mode().Perm())
	case ok && !slices.Contains(uids, st.Uid):
		return fmt.Errorf("folder %s belongs to user %d: chown it to the agent's user", dir, st.Uid)
	}
	return nil
}
