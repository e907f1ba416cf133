//go:build !linux

package dns

import "net"

// Nobody holds sockets for us here.
func accepts(*net.TCPListener) bool { return false }

func makeRoom(conn *net.UDPConn) { _ = conn.SetReadBuffer(waiting) }
