package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// A listener is one address, by both transports.
type listener struct {
	addr netip.AddrPort
	udp  *net.UDPConn
	tcp  *net.TCPListener
	// direct: see Config.Direct.
	direct bool
}

func (l *listener) close() {
	if l.udp != nil {
		_ = l.udp.Close()
	}
	if l.tcp != nil {
		_ = l.tcp.Close()
	}
}

// wake has those who wait for queries look up. What they have not read stays.
func (l *listener) wake() {
	past := time.Unix(1, 0)
	_ = l.udp.SetReadDeadline(past)
	_ = l.tcp.SetDeadline(past)
}

// listen takes all addresses that this host has. It takes none if one is in
// use.
func (s *Server) listen(ctx context.Context, addresses []string) (ls []*listener, err error) {
	defer func() {
		if err != nil {
			for _, l := range ls {
				l.close()
			}
			ls = nil
		}
	}()
	var missing []string
	for _, text := range addresses {
		addr, err := netip.ParseAddrPort(text)
		if err != nil {
			return ls, fmt.Errorf("listen address %q: must be an IP address and a port, such as 127.0.0.1:15053", text)
		}
		l, err := s.listenAt(ctx, addr)
		switch {
		case err == nil:
			ls = append(ls, l)
		case errors.Is(err, errNoAddress) || errors.Is(err, errNoFamily):
			s.log.Warn("listen address left out: this host does not have it", "address", addr.String(), "error", err)
			missing = append(missing, text)
		case errors.Is(err, errInUse):
			return ls, fmt.Errorf("listen on %s: %w: stop what listens there (ss -lnp shows it) or set another port", addr, err)
		default:
			return ls, fmt.Errorf("listen on %s: %w", addr, err)
		}
	}
	if len(ls) == 0 {
		return ls, fmt.Errorf("%w: this host has none of %s: bring its loopback device up (ip link set lo up)", ErrNoAddress, strings.Join(missing, ", "))
	}
	return ls, nil
}

// listenAt takes addr: what is held of it, and what is not as anybody would.
func (s *Server) listenAt(ctx context.Context, addr netip.AddrPort) (*listener, error) {
	if s.cfg.Sockets == nil || addr.Port() == 0 {
		return listenBoth(ctx, addr)
	}
	var lc net.ListenConfig
	l := &listener{addr: addr, udp: s.heldUDP(addr), tcp: s.heldTCP(addr)}
	if l.tcp == nil {
		tl, err := lc.Listen(ctx, "tcp", addr.String())
		if err != nil {
			l.close()
			return nil, err
		}
		l.tcp = tl.(*net.TCPListener)
		s.cfg.Sockets.Keep(socketName("tcp", addr), l.tcp)
	}
	if l.udp == nil {
		uc, err := lc.ListenPacket(ctx, "udp", addr.String())
		if err != nil {
			l.close()
			return nil, err
		}
		l.udp = uc.(*net.UDPConn)
		makeRoom(l.udp)
		s.cfg.Sockets.Keep(socketName("udp", addr), l.udp)
	}
	return l, nil
}

// listenBoth takes addr by UDP and TCP. For port 0 it tries a few ports: one
// that is free for TCP need not be for UDP.
func listenBoth(ctx context.Context, addr netip.AddrPort) (*listener, error) {
	var lc net.ListenConfig
	for try := 0; ; try++ {
		tl, err := lc.Listen(ctx, "tcp", addr.String())
		if err != nil {
			return nil, err
		}
		tcp := tl.(*net.TCPListener)
		got := tcp.Addr().(*net.TCPAddr).AddrPort()
		got = netip.AddrPortFrom(got.Addr().Unmap(), got.Port())
		uc, err := lc.ListenPacket(ctx, "udp", got.String())
		if err == nil {
			return &listener{addr: got, udp: uc.(*net.UDPConn), tcp: tcp}, nil
		}
		_ = tcp.Close()
		if addr.Port() != 0 || try == 10 {
			return nil, err
		}
	}
}
