//go:build linux

package ebpf

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// proven tells that the self-test passed in this process. The kernel stays the
// same, and what is put back within a second must not be proven again first.
var proven atomic.Bool

// SelfTest proves on this kernel that redirection works: the programs are
// loaded and hung on this process's own cgroup, for a network namespace that
// nobody else is in and that goes again, and there a connection and a query of
// each address family are redirected and answered. What fails is told in words.
func (e *Engine) SelfTest(ctx context.Context) error {
	if err := errors.Join(ctx.Err(), permitted(netAdmin, sysAdmin)); err != nil {
		return err
	}
	tree, err := findTree("")
	if err != nil {
		return err
	}
	if tree.attach, err = tree.own(); err != nil {
		return err
	}
	err = elsewhere(func() error { return selfTest(tree) })
	proven.Store(err == nil)
	return err
}

// elsewhere runs f on a thread in a new network namespace. A thread that does
// not come back is left locked: the runtime ends it with its goroutine.
func elsewhere(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := openNetns()
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		defer home.Close()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("self-test: make a network namespace (CONFIG_NET_NS): %w", explain(err))
			return
		}
		err = f()
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// What the test calls, and the ports at which it is served.
var (
	test4 = netip.MustParseAddrPort("192.0.2.1:80") // documentation addresses
	test6 = netip.MustParseAddrPort("[2001:db8::1]:80")
)

const (
	testOutbound = 15001
	testInbound  = 15006
	testDNS      = 15053
	testEnrolled = 8080
	testMark     = 1
)

func testRules() redirect.Rules {
	return redirect.Rules{
		Marks:    redirect.Marks{Mask: 3, Outbound: testMark, Inbound: 2, Agent: 3},
		Inbound:  redirect.Inbound{To: testInbound, Ports: []redirect.PortRange{{First: testEnrolled, Last: testEnrolled}}},
		Outbound: redirect.Outbound{To: testOutbound},
		DNS:      redirect.DNS{To: testDNS},
	}.Normal()
}

func selfTest(tree tree) error {
	if err := loopbackUp(); err != nil {
		return err
	}
	r := testRules()
	f, err := look(r, tree)
	if err != nil {
		return err
	}
	netns, err := openNetns()
	if err != nil {
		return err
	}
	defer netns.Close()
	c, err := load(nil)
	if err != nil {
		return err
	}
	defer c.Close()
	var links []*link.RawLink
	defer func() {
		for _, l := range links {
			_ = l.Close()
		}
	}()
	for _, h := range hooks {
		l, err := hanger{tree, netns}.attach(h, c.Programs[h.program], tree.attach)
		if err != nil {
			return err
		}
		links = append(links, l)
	}
	w, m := build(r, f), pinned(c.Maps)
	w.config.Generation = 1
	if err := errors.Join(m.add(w.entries(1), entries{}), m.swap(w.config)); err != nil {
		return err
	}
	for _, to := range []netip.AddrPort{test4, test6} {
		if to == test6 && !hasIPv6() {
			continue
		}
		for _, t := range []struct {
			what string
			do   func(to netip.AddrPort) error
		}{{"a call", testCall}, {"the proxy's call to its own host", testSelf}, {"a query", testQuery}} {
			if err := t.do(to); err != nil {
				return fmt.Errorf("%w: the self-test of eBPF redirection failed with %s to %s; %s (%w)", redirect.ErrNotSupported, t.what, to, instead, err)
			}
		}
	}
	return nil
}

func loopbackUp() error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("self-test: open netlink: %w", err)
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err == nil {
		err = h.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("self-test: set the loopback device up: %w", err)
	}
	return nil
}

func hasIPv6() bool {
	text, err := os.ReadFile("/proc/thread-self/net/if_inet6")
	return err == nil && len(text) > 0
}

// testPatience bounds each wait; on loopback nothing takes long.
const testPatience = 2 * time.Second

// testSocket is a socket that waits no longer than that. The caller closes it.
func testSocket(at netip.Addr, kind, protocol int) (int, error) {
	family := unix.AF_INET
	if at.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return -1, err
	}
	wait := unix.NsecToTimeval(int64(testPatience))
	if err := errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &wait),
	); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func sockaddr(at netip.AddrPort) unix.Sockaddr {
	if at.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}
	}
	return &unix.SockaddrInet6{Addr: at.Addr().As16(), Port: int(at.Port())}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

func loopbackOf(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

// testConnect listens at one address, calls another and hands both ends of the
// connection to look.
func testConnect(listen, call netip.AddrPort, mark int, look func(caller, accepted int) error) error {
	l, err := testSocket(listen.Addr(), unix.SOCK_STREAM, unix.IPPROTO_TCP)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(l) }()
	if err := errors.Join(unix.Bind(l, sockaddr(listen)), unix.Listen(l, 1)); err != nil {
		return fmt.Errorf("listen at %s: %w", listen, err)
	}
	c, err := testSocket(call.Addr(), unix.SOCK_STREAM, unix.IPPROTO_TCP)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(c) }()
	if err := unix.SetsockoptInt(c, unix.SOL_SOCKET, unix.SO_MARK, mark); err != nil {
		return err
	}
	if err := uninterrupted(func() error { return unix.Connect(c, sockaddr(call)) }); err != nil && !errors.Is(err, unix.EISCONN) {
		return fmt.Errorf("connect: %w", err)
	}
	var a int
	err = uninterrupted(func() error { a, _, err = unix.Accept4(l, unix.SOCK_CLOEXEC); return err })
	if err != nil {
		return fmt.Errorf("it did not arrive at %s: %w", listen, err)
	}
	defer func() { _ = unix.Close(a) }()
	return look(c, a)
}

// uninterrupted repeats what a signal has interrupted: with a time limit on the
// socket the kernel does not, whatever the signal's handler asks for.
func uninterrupted(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// testCall has a call arrive at the proxy, which learns where it was to go, and
// the caller see whom it called.
func testCall(to netip.AddrPort) error {
	return testConnect(netip.AddrPortFrom(loopbackOf(to.Addr()), testOutbound), to, 0, func(caller, accepted int) error {
		got, err := originalDestination(accepted, to.Addr().Is4())
		if err != nil {
			return fmt.Errorf("ask for the original destination: %w", err)
		}
		if got != to {
			return fmt.Errorf("the original destination is %s", got)
		}
		sa, err := unix.Getpeername(caller)
		if err != nil {
			return fmt.Errorf("ask for the peer: %w", err)
		}
		if got := addrPort(sa); got != to {
			return fmt.Errorf("the caller's peer is %s", got)
		}
		return nil
	})
}

// testSelf has a call of the proxy to an enrolled port of its own host arrive at
// its inbound listener.
func testSelf(to netip.AddrPort) error {
	unspecified := netip.IPv4Unspecified()
	if to.Addr().Is6() {
		unspecified = netip.IPv6Unspecified()
	}
	call := netip.AddrPortFrom(loopbackOf(to.Addr()), testEnrolled)
	return testConnect(netip.AddrPortFrom(unspecified, testInbound), call, testMark, func(_, accepted int) error {
		sa, err := unix.Getsockname(accepted)
		if err != nil {
			return err
		}
		if got := addrPort(sa); got != call {
			return fmt.Errorf("%s arrived as %s", call, got)
		}
		return nil
	})
}

// testQuery has a query arrive at the agent, and its answer come from where it
// was sent to.
func testQuery(to netip.AddrPort) error {
	to = netip.AddrPortFrom(to.Addr(), dnsPort)
	at := netip.AddrPortFrom(loopbackOf(to.Addr()), testDNS)
	server, err := testSocket(at.Addr(), unix.SOCK_DGRAM, unix.IPPROTO_UDP)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(server) }()
	if err := unix.Bind(server, sockaddr(at)); err != nil {
		return fmt.Errorf("listen at %s: %w", at, err)
	}
	client, err := testSocket(to.Addr(), unix.SOCK_DGRAM, unix.IPPROTO_UDP)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(client) }()
	if err := unix.Sendto(client, []byte("q"), 0, sockaddr(to)); err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	b := make([]byte, 16)
	var from unix.Sockaddr
	err = uninterrupted(func() error { _, from, err = unix.Recvfrom(server, b, 0); return err })
	if err != nil {
		return fmt.Errorf("it did not arrive at %s: %w", at, err)
	}
	if err := unix.Sendto(server, []byte("a"), 0, from); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	err = uninterrupted(func() error { _, from, err = unix.Recvfrom(client, b, 0); return err })
	if err != nil {
		return fmt.Errorf("the answer did not arrive: %w", err)
	}
	if got := addrPort(from); got != to {
		return fmt.Errorf("the answer came from %s", got)
	}
	return nil
}

// soOriginalDst is SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST.
const soOriginalDst = 80

func originalDestination(fd int, v4 bool) (netip.AddrPort, error) {
	var sa unix.RawSockaddrInet6
	level, size := unix.SOL_IPV6, uint32(unsafe.Sizeof(sa))
	if v4 {
		level = unix.SOL_IP
	}
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), soOriginalDst,
		uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return netip.AddrPort{}, errno
	}
	port := networkOrder(sa.Port)
	if v4 {
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&sa)).Addr), port), nil
	}
	return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), port), nil
}

// networkOrder turns a port into the order of the network, or back.
func networkOrder(port uint16) uint16 {
	return binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, port))
}
