package agent

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// markSocket sets SO_MARK, by which redirection leaves the agent's own
// connections alone. Without the capability there can be no redirection
// either, so that a refusal is no fault.
func markSocket(raw syscall.RawConn, mark uint32) error {
	return raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(mark))
	})
}

// canMark tells whether this process may set SO_MARK.
func canMark() bool {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, 1) == nil
}
