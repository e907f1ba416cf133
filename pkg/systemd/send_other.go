//go:build !linux

package systemd

import (
	"errors"
	"net"
	"os"
)

// send sends a message; files go with it on Linux alone.
func send(conn *net.UnixConn, message []byte, f *os.File) error {
	if f != nil {
		return errors.ErrUnsupported
	}
	_, err := conn.Write(message)
	return err
}
