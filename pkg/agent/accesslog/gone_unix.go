//go:build unix

package accesslog

import (
	"errors"
	"net"
	"syscall"
)

// maxUnread is how many reads a talkative collector is worth at once.
const maxUnread = 16

// gone tells whether the other end has closed the connection. What it says is
// read and passed over. It does not wait.
func gone(conn net.Conn) bool {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	is := false
	err = raw.Read(func(fd uintptr) bool {
		var b [4096]byte
		for range maxUnread {
			n, err := syscall.Read(int(fd), b[:])
			switch {
			case n > 0 || errors.Is(err, syscall.EINTR):
				continue
			case errors.Is(err, syscall.EAGAIN):
			default:
				is = true
			}
			break
		}
		return true
	})
	return is || err != nil
}
