package dns

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// control marks a socket before it is used.
func (f *forwarder) control(_, _ string, c syscall.RawConn) error {
	if f.mark == 0 {
		return nil
	}
	var err error
	if cerr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(f.mark))
	}); cerr != nil {
		return cerr
	}
	return os.NewSyscallError("mark socket", err)
}

// permitted fails when sockets may not be marked: unmarked, our queries would
// be redirected to ourselves.
func (f *forwarder) permitted() error {
	if f.mark == 0 {
		return nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(f.mark)); err != nil {
		return fmt.Errorf("mark our queries %#x (%w): %w: run as root or with CAP_NET_ADMIN", f.mark, err, ErrNotPermitted)
	}
	return nil
}
