package identity

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// limitUnanswered has the kernel end a connection on which what was sent goes
// unanswered for so long. Where it does not, the connection's keepalive is slower.
func limitUnanswered(c syscall.RawConn, d time.Duration) {
	_ = c.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	})
}

// markSocket sets SO_MARK. Without the capability there can be no redirection
// either, so that a refusal is no fault.
func markSocket(c syscall.RawConn, mark uint32) error {
	return c.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(mark))
	})
}
