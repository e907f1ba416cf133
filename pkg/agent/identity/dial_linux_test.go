package identity

import (
	"net"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/proxy"
)

func TestSocketsAreMarked(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("setting a mark needs root; run the tests as root")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	for _, want := range []uint32{0, proxy.MarkAgent} {
		conn, err := dialer(want).DialContext(t.Context(), "tcp", l.Addr().String())
		must(t, err)
		raw, err := conn.(*net.TCPConn).SyscallConn()
		must(t, err)
		var got int
		must(t, raw.Control(func(fd uintptr) { got, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK) }))
		must(t, err)
		if uint32(got) != want {
			t.Errorf("mark %#x, want %#x", got, want)
		}
		conn.Close()
	}
}

// TestKernelAsks: a control plane whose machine is gone is found out by the
// kernel, and no library puts a longer time in place of that.
func TestKernelAsks(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	conn, err := dialer(0).DialContext(t.Context(), "tcp", l.Addr().String())
	must(t, err)
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	must(t, err)
	for option, want := range map[int]int{unix.TCP_KEEPIDLE: 3, unix.TCP_KEEPINTVL: 1, unix.TCP_KEEPCNT: 2, unix.TCP_USER_TIMEOUT: 4500} {
		var got int
		must(t, raw.Control(func(fd uintptr) { got, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option) }))
		if must(t, err); got != want {
			t.Errorf("option %d is %d, want %d", option, got, want)
		}
	}
	if _, plain := net.Conn(line{conn}).(syscall.Conn); plain {
		t.Error("gRPC can set options of the connection")
	}
}
