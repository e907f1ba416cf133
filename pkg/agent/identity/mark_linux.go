package identity

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// markSocket sets SO_MARK. Without the capability there can be no redirection
// either, so that a refusal is no fault.
func markSocket(c syscall.RawConn, mark uint32) error {
	return c.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(mark))
	})
}
