package identity

import (
	"net"
	"os"
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
