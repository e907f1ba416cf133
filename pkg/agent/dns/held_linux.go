package dns

import (
	"net"

	"golang.org/x/sys/unix"
)

// accepts says that a socket listens, and is no connection.
func accepts(l *net.TCPListener) (yes bool) {
	raw, err := l.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		yes = err == nil && n == 1
	})
	return yes
}

// makeRoom has the kernel keep what waits, beyond the host's limit where this
// process may.
func makeRoom(conn *net.UDPConn) {
	raw, err := conn.SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, waiting)
		})
	}
	if err != nil {
		_ = conn.SetReadBuffer(waiting)
	}
}
