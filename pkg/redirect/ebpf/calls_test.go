//go:build linux

package ebpf

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/testnet"
)

func wantOutbound(t *testing.T, got string, to netip.AddrPort) {
	t.Helper()
	if want := "outbound " + to.String(); got != want {
		t.Errorf("%s was answered by %q, want %q", to, got, want)
	}
}

// A call that is not waited for is redirected all the same, and its socket sees
// whom it called.
func TestNonBlocking(t *testing.T) {
	host, peer := play(t)
	install(t, host, everything())
	for _, to := range on80(peer) {
		s := raw(t, host, to.Addr(), unix.SOCK_STREAM|unix.SOCK_NONBLOCK)
		if err := unix.Connect(int(s), sockaddr(to)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
			t.Fatal(err)
		}
		s.wait(t, unix.POLLOUT)
		if got := s.peer(t); got != to {
			t.Errorf("the peer is %s, want %s", got, to)
		}
		wantOutbound(t, s.hear(t), to)
	}
}

const hello = "hello"

// With TCP Fast Open the proxy may accept before the caller's connect returns:
// the first packet carries data.
func TestFastOpen(t *testing.T) {
	hosts := testnet.Hosts(t, 2)
	host, peer := hosts[0], hosts[1]
	host.Run(t, "sh", "-c", "echo 0x607 > /proc/sys/net/ipv4/tcp_fastopen") // both sides, unasked and without cookies
	for _, loopback := range []string{"127.0.0.1", "[::1]"} {
		host.Listen(t, fmt.Sprintf("%s:%d", loopback, outboundPort)).Serve(func(c *testnet.Conn) string {
			_, _ = io.ReadFull(c, make([]byte, len(hello))) // or closing resets the connection
			return originally(c)
		})
	}
	install(t, host, everything())
	for _, to := range on80(peer) {
		for name, open := range map[string]func(s rawSocket) error{
			"sendto": func(s rawSocket) error { return unix.Sendto(int(s), []byte(hello), unix.MSG_FASTOPEN, sockaddr(to)) },
			"connect": func(s rawSocket) error {
				if err := unix.SetsockoptInt(int(s), unix.SOL_TCP, unix.TCP_FASTOPEN_CONNECT, 1); err != nil {
					return err
				}
				if err := unix.Connect(int(s), sockaddr(to)); err != nil {
					return err
				}
				_, err := unix.Write(int(s), []byte(hello))
				return err
			},
		} {
			for range 3 {
				s := raw(t, host, to.Addr(), unix.SOCK_STREAM)
				if err := open(s); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				wantOutbound(t, s.hear(t), to)
			}
		}
	}
	if stat := host.Run(t, "cat", "/proc/self/net/netstat"); !counted(stat, "TCPFastOpenActive") {
		t.Errorf("no connection was opened fast:\n%s", stat)
	}
}

// counted tells whether a counter of /proc/net/netstat, whose lines come in
// pairs of names and numbers, is not 0.
func counted(stat, name string) bool {
	lines := splitLines(stat)
	for i := 0; i+1 < len(lines); i += 2 {
		if n := slices.Index(lines[i], name); n >= 0 && n < len(lines[i+1]) {
			return lines[i+1][n] != "0"
		}
	}
	return false
}

// Callers whose source port is given may call several places at once.
func TestBoundSourcePort(t *testing.T) {
	host, peer := play(t)
	install(t, host, everything())
	for _, to := range on80(peer) {
		var open []rawSocket
		var targets []netip.AddrPort
		for port := uint16(80); port < 100; port++ {
			at := netip.AddrPortFrom(to.Addr(), port)
			s := raw(t, host, to.Addr(), unix.SOCK_STREAM)
			own := host.IP4
			if to.Addr().Is6() {
				own = host.IP6
			}
			if err := errors.Join(
				unix.SetsockoptInt(int(s), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
				unix.Bind(int(s), sockaddr(netip.AddrPortFrom(own, 40000))),
			); err != nil {
				t.Fatal(err)
			}
			if err := unix.Connect(int(s), sockaddr(at)); err != nil {
				t.Fatalf("connect to %s: %v", at, err)
			}
			open, targets = append(open, s), append(targets, at)
		}
		for i, s := range open {
			if got := s.peer(t); got != targets[i] {
				t.Errorf("the peer is %s, want %s", got, targets[i])
			}
			wantOutbound(t, s.hear(t), targets[i])
		}
	}
}

// A socket that is bound to a device cannot reach loopback. It goes straight,
// and is counted.
func TestBoundDevice(t *testing.T) {
	host, peer := play(t)
	install(t, host, everything())
	for i, to := range on80(peer) {
		s := raw(t, host, to.Addr(), unix.SOCK_STREAM)
		if err := errors.Join(unix.BindToDevice(int(s), "eth0"), unix.Connect(int(s), sockaddr(to))); err != nil {
			t.Fatal(err)
		}
		if got := s.hear(t); got != "direct" {
			t.Errorf("bound to eth0 %s was answered by %q", to, got)
		}
		var n Counts
		if err := host.Do(func() (err error) {
			n, err = engine().Counts(t.Context(), "")
			return err
		}); err != nil || n.Direct != uint64(i+1) {
			t.Errorf("counted %+v, %v, want %d direct", n, err, i+1)
		}
		s = raw(t, host, to.Addr(), unix.SOCK_STREAM)
		if err := errors.Join(unix.BindToDevice(int(s), "lo"), unix.Connect(int(s), sockaddr(to))); err != nil {
			t.Fatal(err)
		}
		wantOutbound(t, s.hear(t), to)
	}
}

// A socket that is connected again is decided about again.
func TestConnectedAgain(t *testing.T) {
	host, peer := play(t)
	r := everything()
	r.Outbound.ExcludePorts = append(r.Outbound.ExcludePorts, port(81))
	install(t, host, r)
	for _, to := range on80(peer) {
		s := raw(t, host, to.Addr(), unix.SOCK_STREAM)
		for range 2 {
			if err := unix.Connect(int(s), sockaddr(to)); err != nil {
				t.Fatal(err)
			}
			wantOutbound(t, s.hear(t), to)
			disconnect(t, s)
			direct := netip.AddrPortFrom(to.Addr(), 81)
			if err := unix.Connect(int(s), sockaddr(direct)); err != nil {
				t.Fatal(err)
			}
			if got := s.peer(t); got != direct {
				t.Errorf("the peer is %s, want %s", got, direct)
			}
			if got := s.hear(t); got != "direct" {
				t.Errorf("%s was answered by %q", direct, got)
			}
			disconnect(t, s)
		}
	}
}

// disconnect takes a socket off its peer, by connecting it to AF_UNSPEC.
func disconnect(t *testing.T, s rawSocket) {
	t.Helper()
	var unspec unix.RawSockaddr
	if _, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(s), uintptr(unsafe.Pointer(&unspec)), unsafe.Sizeof(unspec)); errno != 0 {
		t.Fatal(errno)
	}
}

// What is asked of io_uring is redirected like what is asked by connect(2).
func TestIOUring(t *testing.T) {
	host, peer := play(t)
	install(t, host, everything())
	for _, to := range on80(peer) {
		s := raw(t, host, to.Addr(), unix.SOCK_STREAM)
		if err := host.Do(func() error { return uringConnect(int(s), to) }); err != nil {
			if off, readErr := os.ReadFile("/proc/sys/kernel/io_uring_disabled"); readErr == nil && string(off) == "2\n" || errors.Is(err, unix.ENOSYS) {
				t.Skipf("this kernel has no io_uring: %v", err)
			}
			t.Fatal(err)
		}
		if got := s.peer(t); got != to {
			t.Errorf("the peer is %s, want %s", got, to)
		}
		wantOutbound(t, s.hear(t), to)
	}
}

// uringConnect connects by one request to a ring of its own; the numbers are
// those of linux/io_uring.h.
func uringConnect(fd int, to netip.AddrPort) error {
	const (
		opConnect  = 16
		getEvents  = 1
		offSQRing  = 0
		offCQRing  = 0x8000000
		offSQEs    = 0x10000000
		sqeLen     = 64
		paramsLen  = 120
		sqOffTail  = 40 + 4
		sqOffArray = 40 + 24
		cqOffHead  = 80
		cqOffCQEs  = 80 + 20
	)
	var params [paramsLen]byte
	word := func(b []byte, at int) *uint32 { return (*uint32)(unsafe.Pointer(&b[at])) }
	ring, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0)
	if errno != 0 {
		return fmt.Errorf("io_uring_setup: %w", errno)
	}
	defer func() { _ = unix.Close(int(ring)) }()
	var maps [][]byte
	for _, at := range []int64{offSQRing, offCQRing, offSQEs} {
		m, err := unix.Mmap(int(ring), at, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
		if err != nil {
			return fmt.Errorf("map the ring: %w", err)
		}
		defer func() { _ = unix.Munmap(m) }()
		maps = append(maps, m)
	}
	sq, cq, sqe := maps[0], maps[1], maps[2]
	address := make([]byte, unix.SizeofSockaddrInet6)
	n := rawAddress(address, to)
	sqe[0] = opConnect
	*word(sqe, 4) = uint32(fd)
	*(*uint64)(unsafe.Pointer(&sqe[8])) = uint64(n)
	*(*uint64)(unsafe.Pointer(&sqe[16])) = uint64(uintptr(unsafe.Pointer(&address[0])))
	*word(sq, int(*word(params[:], sqOffArray))) = 0
	*word(sq, int(*word(params[:], sqOffTail)))++
	if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, ring, 1, 1, getEvents, 0, 0); errno != 0 {
		return fmt.Errorf("io_uring_enter: %w", errno)
	}
	_ = *word(cq, int(*word(params[:], cqOffHead)))
	if result := int32(*word(cq, int(*word(params[:], cqOffCQEs))+8)); result < 0 {
		return fmt.Errorf("connect: %w", unix.Errno(-result))
	}
	_ = address[0]
	return nil
}

// rawAddress writes an address as the kernel reads it, and returns its length.
func rawAddress(b []byte, a netip.AddrPort) int {
	port := [2]byte{byte(a.Port() >> 8), byte(a.Port())}
	if a.Addr().Is4() {
		*(*uint16)(unsafe.Pointer(&b[0])) = unix.AF_INET
		copy(b[2:], port[:])
		v4 := a.Addr().As4()
		copy(b[4:], v4[:])
		return unix.SizeofSockaddrInet4
	}
	*(*uint16)(unsafe.Pointer(&b[0])) = unix.AF_INET6
	copy(b[2:], port[:])
	v6 := a.Addr().As16()
	copy(b[8:], v6[:])
	return unix.SizeofSockaddrInet6
}

// Multipath TCP calls by another way.
func TestMultipath(t *testing.T) {
	host, peer := play(t)
	install(t, host, everything())
	for _, to := range on80(peer) {
		var s int
		if err := host.Do(func() (err error) {
			s, err = testSocket(to.Addr(), unix.SOCK_STREAM, unix.IPPROTO_MPTCP)
			return err
		}); err != nil {
			if _, statErr := os.Stat("/proc/sys/net/mptcp"); errors.Is(statErr, os.ErrNotExist) && errors.Is(err, unix.EPROTONOSUPPORT) {
				t.Skipf("this kernel has no MPTCP: %v", err)
			}
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(s) })
		if err := unix.Connect(s, sockaddr(to)); err != nil {
			t.Fatal(err)
		}
		wantOutbound(t, rawSocket(s).hear(t), to)
	}
}

// Containers of the host, with network namespaces of their own, are not ours,
// though they are in the same cgroup tree.
func TestOtherNamespace(t *testing.T) {
	host, peer := play(t)
	install(t, host, everything())
	other := testnet.Hosts(t, 1)[0]
	other.Run(t, "ip", "link", "del", "eth0")
	host.Run(t, "ip", "link", "add", "c0", "type", "veth", "peer", "name", "eth0", "netns", other.Path())
	host.Run(t, "sh", "-ec", "ip link set c0 up; ip addr add 172.17.0.1/24 dev c0; echo 1 > /proc/sys/net/ipv4/ip_forward")
	other.Run(t, "sh", "-ec", "ip link set eth0 up; ip addr add 172.17.0.2/24 dev eth0; ip route add default via 172.17.0.1")
	peer.Run(t, "ip", "route", "add", "172.17.0.0/24", "via", host.IP4.String())
	other.Listen(t, "127.0.0.1:15001").Serve(func(*testnet.Conn) string { return "redirected" })
	other.Listen(t, "172.17.0.2:8080").Serve(func(*testnet.Conn) string { return "container" })
	to := netip.AddrPortFrom(peer.IP4, 80)
	if got := call(other, to); got != "direct" {
		t.Errorf("a container was answered by %q", got)
	}
	in := netip.MustParseAddrPort("172.17.0.2:8080")
	if got := call(peer, in); got != "container" {
		t.Errorf("a container's enrolled port was answered by %q", got)
	}
	wantOutbound(t, call(host, to), to)
}
