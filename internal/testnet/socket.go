//go:build linux

package testnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Patience is how long a test waits for what must come, and DialTimeout for a
// connection.
const (
	Patience    = 30 * time.Second
	DialTimeout = 10 * time.Second
)

// An Option changes a socket before it is bound.
type Option func(*options)

type options struct {
	mark        uint32
	uid, gid    int
	transparent bool
	mapped      bool
	local       netip.AddrPort
	within      time.Duration
}

// Mark sets SO_MARK.
func Mark(m uint32) Option { return func(o *options) { o.mark = m } }

// UID makes the socket another user's.
func UID(uid uint32) Option { return func(o *options) { o.uid = int(uid) } }

// GID makes the socket another group's.
func GID(gid uint32) Option { return func(o *options) { o.gid = int(gid) } }

// Mapped makes a dialling socket one of IPv6 that calls an IPv4 address, mapped,
// as Java's are.
func Mapped() Option { return func(o *options) { o.mapped = true } }

// Within bounds the wait for a connection, which is DialTimeout otherwise.
func Within(d time.Duration) Option { return func(o *options) { o.within = d } }

// Transparent sets IP_TRANSPARENT or IPV6_TRANSPARENT.
func Transparent() Option { return func(o *options) { o.transparent = true } }

// From binds a dialling socket.
func From(local netip.AddrPort) Option { return func(o *options) { o.local = local } }

func collect(opts []Option) *options {
	o := &options{within: DialTimeout}
	for _, opt := range opts {
		opt(o)
	}
	return o
}

func (o *options) control(network, _ string, c syscall.RawConn) error {
	var errs []error
	set := func(fd, level, name, value int) {
		if err := unix.SetsockoptInt(fd, level, name, value); err != nil {
			errs = append(errs, fmt.Errorf("socket option %d/%d: %w", level, name, err))
		}
	}
	err := c.Control(func(fd uintptr) {
		if o.mark != 0 {
			set(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(o.mark))
		}
		if o.local.IsValid() { // it may still be in the hands of an earlier connection
			set(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		}
		if o.transparent && strings.HasSuffix(network, "6") {
			set(int(fd), unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1)
		} else if o.transparent {
			set(int(fd), unix.SOL_IP, unix.IP_TRANSPARENT, 1)
		}
	})
	return errors.Join(append(errs, err)...)
}

// as runs f with the thread's file-system user and group, which are what the
// kernel takes for the owner of a new socket.
func (o *options) as(f func() error) error {
	if o.gid != 0 {
		if _, err := unix.SetfsgidRetGid(o.gid); err != nil {
			return fmt.Errorf("become group %d: %w", o.gid, err)
		}
		defer func() { _, _ = unix.SetfsgidRetGid(0) }()
	}
	if o.uid != 0 {
		if _, err := unix.SetfsuidRetUid(o.uid); err != nil {
			return fmt.Errorf("become user %d: %w", o.uid, err)
		}
		defer func() { _, _ = unix.SetfsuidRetUid(0) }()
	}
	return f()
}

// Dial connects, or fails the test. The address is literal. The connection is
// closed with the test.
func (h *Host) Dial(t testing.TB, network, addr string, opts ...Option) *Conn {
	t.Helper()
	c, err := h.TryDial(network, addr, opts...)
	if err != nil {
		t.Fatalf("host %s: %v", h.Name, err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TryDial connects. The caller closes the connection.
func (h *Host) TryDial(network, addr string, opts ...Option) (*Conn, error) {
	o := collect(opts)
	d := net.Dialer{Timeout: o.within, Control: o.control}
	if o.local.IsValid() {
		if strings.HasPrefix(network, "udp") {
			d.LocalAddr = net.UDPAddrFromAddrPort(o.local)
		} else {
			d.LocalAddr = net.TCPAddrFromAddrPort(o.local)
		}
	}
	var c net.Conn
	err := h.Do(func() error {
		return o.as(func() (err error) {
			if o.mapped {
				c, err = o.dialMapped(network, addr)
				return err
			}
			c, err = d.Dial(network, addr)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return &Conn{c}, nil
}

// dialMapped does without the net package, which makes a socket of IPv4 of it.
func (o *options) dialMapped(network, addr string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	kind := unix.SOCK_STREAM
	if strings.HasPrefix(network, "udp") {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(unix.AF_INET6, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "mapped")
	defer f.Close()
	if o.mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(o.mark)); err != nil {
			return nil, err
		}
	}
	within := unix.NsecToTimeval(o.within.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &within); err != nil {
		return nil, err
	}
	if o.local.IsValid() {
		if err := unix.Bind(fd, &unix.SockaddrInet6{Port: int(o.local.Port()), Addr: o.local.Addr().As16()}); err != nil {
			return nil, err
		}
	}
	err = unix.Connect(fd, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()})
	if errors.Is(err, unix.EINPROGRESS) { // the time is over
		err = os.ErrDeadlineExceeded
	}
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	return net.FileConn(f)
}

// A Listener is a TCP listener on a host.
type Listener struct{ *net.TCPListener }

// Listen listens, or fails the test. The listener is closed with the test. An
// IPv6 listener takes IPv6 only.
func (h *Host) Listen(t testing.TB, addr string, opts ...Option) *Listener {
	t.Helper()
	ap := netip.MustParseAddrPort(addr)
	lc := net.ListenConfig{Control: collect(opts).control}
	lc.SetMultipathTCP(false) // as Envoy listens
	var l net.Listener
	err := h.Do(func() (err error) {
		l, err = lc.Listen(context.Background(), "tcp"+family(ap.Addr()), addr)
		return err
	})
	if err != nil {
		t.Fatalf("host %s: %v", h.Name, err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return &Listener{l.(*net.TCPListener)}
}

// ListenUDP opens a UDP socket, or fails the test. It is closed with the test.
func (h *Host) ListenUDP(t testing.TB, addr string, opts ...Option) *net.UDPConn {
	t.Helper()
	ap := netip.MustParseAddrPort(addr)
	o := collect(opts)
	lc := net.ListenConfig{Control: o.control}
	var c net.PacketConn
	err := h.Do(func() error {
		return o.as(func() (err error) {
			c, err = lc.ListenPacket(context.Background(), "udp"+family(ap.Addr()), addr)
			return err
		})
	})
	if err != nil {
		t.Fatalf("host %s: %v", h.Name, err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.UDPConn)
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "4"
	}
	return "6"
}

// Accept takes the next connection, or fails the test after Patience.
func (l *Listener) Accept(t testing.TB) *Conn {
	t.Helper()
	_ = l.SetDeadline(time.Now().Add(Patience))
	c, err := l.TCPListener.Accept()
	if err != nil {
		t.Fatalf("listener %s: %v", l.Addr(), err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &Conn{c}
}

// Serve answers every connection with what answer returns for it and closes
// it, until the listener is closed.
func (l *Listener) Serve(answer func(*Conn) string) {
	go func() {
		for {
			c, err := l.TCPListener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = c.Write([]byte(answer(&Conn{c})))
			}()
		}
	}()
}

// A Conn is a connection of a host.
type Conn struct{ net.Conn }

// Local is the connection's local address: on a transparent listener's
// connection, where the caller wanted to go.
func (c *Conn) Local() netip.AddrPort { return addrPort(c.LocalAddr()) }

// Remote is the peer's address.
func (c *Conn) Remote() netip.AddrPort { return addrPort(c.RemoteAddr()) }

func addrPort(a net.Addr) netip.AddrPort {
	ap := netip.MustParseAddrPort(a.String())
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// OriginalDestination is where the caller of a redirected TCP connection wanted
// to go, asked as a proxy asks it.
func (c *Conn) OriginalDestination() (netip.AddrPort, error) {
	raw, err := c.Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	var dst netip.AddrPort
	var optErr error
	err = raw.Control(func(fd uintptr) {
		if c.Local().Addr().Is4() {
			var sa unix.RawSockaddrInet4
			optErr = getsockopt(fd, unix.SOL_IP, unsafe.Pointer(&sa), unsafe.Sizeof(sa))
			dst = netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), ntohs(sa.Port))
			return
		}
		var sa unix.RawSockaddrInet6
		optErr = getsockopt(fd, unix.SOL_IPV6, unsafe.Pointer(&sa), unsafe.Sizeof(sa))
		dst = netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), ntohs(sa.Port))
	})
	return dst, errors.Join(err, optErr)
}

// originalDst is SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST.
const originalDst = 80

func getsockopt(fd uintptr, level int, p unsafe.Pointer, size uintptr) error {
	n := uint32(size)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, uintptr(level), originalDst, uintptr(p), uintptr(unsafe.Pointer(&n)), 0)
	if errno != 0 {
		return fmt.Errorf("SO_ORIGINAL_DST: %w", errno)
	}
	return nil
}

func ntohs(v uint16) uint16 {
	b := *(*[2]byte)(unsafe.Pointer(&v))
	return uint16(b[0])<<8 | uint16(b[1])
}
