package relay

import (
	"bytes"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// errRefused is what dialing a socket fails with that nobody listens at.
const errRefused = unix.ECONNREFUSED

// peerUID returns the user on the other end of a unix socket, as the kernel
// noted when it connected.
func peerUID(conn net.Conn) (uint32, error) {
	cred, err := peerCred(conn)
	if err != nil {
		return 0, err
	}
	return cred.Uid, nil
}

// peerProcess names the process on the other end by its number and its start.
func peerProcess(conn net.Conn) string {
	cred, err := peerCred(conn)
	if err != nil || cred.Pid <= 0 {
		return ""
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cred.Pid))
	if err != nil {
		return ""
	}
	// What follows the name begins with the third field; the start is the 22nd.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 20 {
		return ""
	}
	return fmt.Sprintf("%d@%s", cred.Pid, fields[19])
}

func peerCred(conn net.Conn) (*unix.Ucred, error) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("peer of %s: not a socket of the kernel's", conn.LocalAddr())
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("peer of %s: %w", conn.LocalAddr(), err)
	}
	var cred *unix.Ucred
	if cerr := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); cerr != nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("peer of %s: %w", conn.LocalAddr(), err)
	}
	return cred, nil
}

// checkFolder fails unless dir is open to its owner only, and its owner is one
// of uids. Others may pass through it: the socket itself is closed to them.
func checkFolder(dir string, uids []uint32) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("folder of socket: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case info.Mode().Type() != fs.ModeDir:
		return fmt.Errorf("%s is no folder: the socket needs one of its own", dir)
	case info.Mode().Perm()&0o066 != 0:
		return fmt.Errorf("folder %s is open to others (%#o): give the socket a folder of its own, or chmod 0700 it", dir, info.Mode().Perm())
	case ok && !slices.Contains(uids, st.Uid):
		return fmt.Errorf("folder %s belongs to user %d: chown it to the agent's user", dir, st.Uid)
	}
	return nil
}
