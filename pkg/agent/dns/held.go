package dns

import (
	"net"
	"net/netip"
	"strings"
)

// waiting is how much of what waits in a socket the kernel keeps, in bytes of
// its own reckoning, which has less than 1 KB for a query.
const waiting = 2 << 20

// socketName is what a socket is held by. It has no colon, which systemd's list
// of names is parted by.
func socketName(network string, addr netip.AddrPort) string {
	return "dns-" + network + "-" + strings.ReplaceAll(addr.String(), ":", "_")
}

// SocketNames are the names by which the server's sockets are held.
func (s *Server) SocketNames() (names []string) {
	for _, of := range [][]string{s.cfg.Listen, s.cfg.Direct} {
		for _, text := range of {
			if addr, err := netip.ParseAddrPort(text); err == nil {
				names = append(names, socketName("udp", addr), socketName("tcp", addr))
			}
		}
	}
	return names
}

// heldUDP is the socket that is held for addr, nil for none. Names prove
// nothing: what is not bound there as a server's is given up.
func (s *Server) heldUDP(addr netip.AddrPort) *net.UDPConn {
	name := socketName("udp", addr)
	f := s.cfg.Sockets.Take(name)
	if f == nil {
		return nil
	}
	pc, err := net.FilePacketConn(f)
	if err == nil {
		if conn, ok := pc.(*net.UDPConn); ok && conn.RemoteAddr() == nil && isAt(conn.LocalAddr(), addr) {
			return conn
		}
		_ = pc.Close()
	}
	s.refuse(name, err)
	return nil
}

func (s *Server) heldTCP(addr netip.AddrPort) *net.TCPListener {
	name := socketName("tcp", addr)
	f := s.cfg.Sockets.Take(name)
	if f == nil {
		return nil
	}
	l, err := net.FileListener(f)
	if err == nil {
		if tcp, ok := l.(*net.TCPListener); ok && isAt(tcp.Addr(), addr) && accepts(tcp) {
			return tcp
		}
		_ = l.Close()
	}
	s.refuse(name, err)
	return nil
}

func (s *Server) refuse(name string, err error) {
	s.log.Warn("held socket was given up: it is not what its name says", "socket", name, "error", err)
	s.cfg.Sockets.Drop(name)
}

func isAt(a net.Addr, want netip.AddrPort) bool {
	at, err := netip.ParseAddrPort(a.String())
	return err == nil && netip.AddrPortFrom(at.Addr().Unmap(), at.Port()) == want
}
