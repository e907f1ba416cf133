package systemd

import (
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// send sends a message, with a file where there is one.
func send(conn *net.UnixConn, message []byte, f *os.File) error {
	if f == nil {
		_, err := conn.Write(message)
		return err
	}
	file, err := f.SyscallConn()
	if err != nil {
		return err
	}
	to, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = file.Control(func(fd uintptr) {
		rights := unix.UnixRights(int(fd))
		err = to.Write(func(socket uintptr) bool {
			sent = unix.Sendmsg(int(socket), message, rights, nil, 0)
			return !errors.Is(sent, unix.EAGAIN)
		})
	})
	return errors.Join(err, os.NewSyscallError("sendmsg", sent))
}
