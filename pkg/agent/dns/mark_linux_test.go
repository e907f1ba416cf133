package dns

import (
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/proxy"
)

func TestQueriesAreMarked(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("run as root: marking sockets takes CAP_NET_ADMIN")
	}
	f := newForwarder(Config{Mark: proxy.MarkAgent})
	if err := f.permitted(); err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"udp", "tcp"} {
		l, err := listenBoth(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.close()
		d := net.Dialer{Control: f.control}
		conn, err := d.Dial(network, l.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if got := markOf(t, conn.(syscall.Conn)); got != int(proxy.MarkAgent) {
			t.Errorf("%s: mark %#x, want %#x", network, got, proxy.MarkAgent)
		}
	}
}

func markOf(t *testing.T, c syscall.Conn) (mark int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) { mark, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK) }); cerr != nil {
		t.Fatal(cerr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return mark
}
