//go:build linux

package probe

import (
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A socket is one that a probe is sent from. It travels to the process that
// makes it as JSON.
type socket struct {
	UDP  bool           `json:"udp"`
	Mark uint32         `json:"mark"`
	From netip.AddrPort `json:"from"` // port 0: the kernel's choice
	To   netip.AddrPort `json:"to"`
	Send []byte         `json:"send"` // over UDP, or once a connection is there
}

// open makes the socket and gives it its port. Nothing is sent.
func (s socket) open() (fd int, err error) {
	domain, kind := unix.AF_INET, unix.SOCK_STREAM
	if s.From.Addr().Is6() {
		domain = unix.AF_INET6
	}
	if s.UDP {
		kind = unix.SOCK_DGRAM
	}
	if fd, err = unix.Socket(domain, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, fmt.Errorf("make a socket: %w", err)
	}
	fail := func(err error) (int, error) { return -1, errors.Join(err, unix.Close(fd)) }
	if s.Mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(s.Mark)); err != nil {
			return fail(fmt.Errorf("mark a socket: %w", err))
		}
	}
	// No router passes on what a probe sends.
	if domain == unix.AF_INET {
		err = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TTL, 1)
	} else {
		err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_V6ONLY, 1), unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_UNICAST_HOPS, 1))
	}
	if err != nil {
		return fail(fmt.Errorf("bound a socket's reach: %w", err))
	}
	if err := unix.Bind(fd, sockaddr(s.From)); err != nil {
		return fail(fmt.Errorf("bind %s: %w", s.From, err))
	}
	return fd, nil
}

// start connects, and sends where that needs no connection. A connection that
// is under way is no error.
func (s socket) start(fd int) error {
	err := unix.Connect(fd, sockaddr(s.To))
	if errors.Is(err, unix.EINPROGRESS) {
		return nil
	}
	if err == nil && s.UDP {
		_, err = unix.Write(fd, s.Send)
	}
	return err
}

// again closes what is open as fd, and has the socket in its place, started.
func (s socket) again(fd int) error {
	none, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	err = unix.Dup3(none, fd, unix.O_CLOEXEC) // the port is free
	_ = unix.Close(none)
	if err != nil {
		return err
	}
	made, err := s.open()
	if err != nil {
		return err
	}
	err = unix.Dup3(made, fd, unix.O_CLOEXEC)
	_ = unix.Close(made)
	if err != nil {
		return err
	}
	return s.start(fd)
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// local is the socket's own end.
func local(fd int) netip.AddrPort {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}
	}
	return addrPort(sa)
}

// listen makes a listener, or a UDP socket that is asked.
func listen(udp bool, at netip.AddrPort) (fd int, err error) {
	s := socket{UDP: udp, From: at}
	if fd, err = s.open(); err != nil || udp {
		return fd, err
	}
	if err := unix.Listen(fd, 16); err != nil {
		return -1, errors.Join(fmt.Errorf("listen at %s: %w", at, err), unix.Close(fd))
	}
	return fd, nil
}

// originalDst is SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST.
const originalDst = 80

// original is where the caller of a redirected connection wanted to go, asked
// of the proxy's own socket as the proxy asks it.
func original(pid, theirs int, v4 bool) (netip.AddrPort, error) {
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("open process %d: %w", pid, err)
	}
	defer func() { _ = unix.Close(process) }()
	fd, err := unix.PidfdGetfd(process, theirs, 0)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("look at a socket of process %d: %w", pid, err)
	}
	defer func() { _ = unix.Close(fd) }()
	level, size := unix.SOL_IPV6, uint32(unix.SizeofSockaddrInet6)
	if v4 {
		level, size = unix.SOL_IP, unix.SizeofSockaddrInet4
	}
	b := make([]byte, size)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), originalDst, uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return netip.AddrPort{}, fmt.Errorf("SO_ORIGINAL_DST: %w", errno)
	}
	port := uint16(b[2])<<8 | uint16(b[3])
	if v4 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), port), nil
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])), port), nil
}
