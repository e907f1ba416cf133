//go:build linux

package ebpf

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
)

const (
	inboundPort  = 15006
	outboundPort = 15001
	agentDNS     = 15053

	markOutbound = 0x1000
)

func everything() redirect.Rules {
	return redirect.Rules{
		Marks:    redirect.Marks{Mask: 0x3000, Outbound: markOutbound, Inbound: 0x2000, Agent: 0x3000},
		Inbound:  redirect.Inbound{To: inboundPort, Ports: []redirect.PortRange{{First: 8080, Last: 8080}}},
		Outbound: redirect.Outbound{To: outboundPort},
		DNS:      redirect.DNS{To: agentDNS},
		VIPs:     []netip.Prefix{netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("fd57:6566:7400::/64")},
	}
}

func engine() *Engine { return New(WithCgroup(ownCgroup())) }

// play makes a host with a proxy, and one that says "direct" at port 80.
func play(t *testing.T) (host, peer *testnet.Host) {
	t.Helper()
	hosts := testnet.Hosts(t, 2)
	host, peer = hosts[0], hosts[1]
	proxyOutbound(t, host)
	for _, all := range []string{"0.0.0.0", "[::]"} {
		host.Listen(t, fmt.Sprintf("%s:%d", all, inboundPort), testnet.Transparent()).Serve(func(c *testnet.Conn) string { return "inbound " + c.Local().String() })
		for _, port := range []int{80, 81} {
			peer.Listen(t, fmt.Sprintf("%s:%d", all, port)).Serve(func(*testnet.Conn) string { return "direct" })
		}
	}
	return host, peer
}

func proxyOutbound(t *testing.T, host *testnet.Host) (listeners []*testnet.Listener) {
	t.Helper()
	for _, loopback := range []string{"127.0.0.1", "[::1]"} {
		l := host.Listen(t, fmt.Sprintf("%s:%d", loopback, outboundPort))
		l.Serve(originally)
		listeners = append(listeners, l)
	}
	return listeners
}

func originally(c *testnet.Conn) string {
	to, err := c.OriginalDestination()
	if err != nil {
		return err.Error()
	}
	return "outbound " + to.String()
}

func install(t *testing.T, h *testnet.Host, r redirect.Rules) {
	t.Helper()
	testnet.SkipIfUnsupported(t, h.Do(func() error { return engine().Apply(t.Context(), r) }))
}

func uninstall(t *testing.T, h *testnet.Host) {
	t.Helper()
	if err := h.Do(func() error { return engine().Remove(t.Context(), "") }); err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, h *testnet.Host, r redirect.Rules) []redirect.Difference {
	t.Helper()
	var d []redirect.Difference
	if err := h.Do(func() (err error) {
		d, err = engine().Check(t.Context(), r)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return d
}

// on80 is port 80 of a host in each family.
func on80(h *testnet.Host) []netip.AddrPort {
	return []netip.AddrPort{netip.AddrPortFrom(h.IP4, 80), netip.AddrPortFrom(h.IP6, 80)}
}

func hear(c *testnet.Conn) string {
	_ = c.SetReadDeadline(time.Now().Add(testnet.Patience))
	b, err := io.ReadAll(c)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func call(h *testnet.Host, to netip.AddrPort, opts ...testnet.Option) string {
	c, err := h.TryDial("tcp", to.String(), opts...)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	return hear(c)
}

// A rawSocket is one whose calls are chosen by the test. It waits for what it
// is asked for, but no longer than testnet.Patience.
type rawSocket int

// raw makes one on a host for an address's family.
func raw(t *testing.T, h *testnet.Host, to netip.Addr, kind int) (s rawSocket) {
	t.Helper()
	if err := h.Do(func() error {
		fd, err := testSocket(to, kind&^unix.SOCK_NONBLOCK, 0)
		if err == nil && kind&unix.SOCK_NONBLOCK != 0 {
			err = unix.SetNonblock(fd, true)
		}
		s = rawSocket(fd)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(int(s)) })
	return s
}

// wait waits for an event of poll(2).
func (s rawSocket) wait(t *testing.T, event int16) {
	t.Helper()
	deadline := time.Now().Add(testnet.Patience)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(s), Events: event}}, int(testnet.Patience.Milliseconds()))
		if n > 0 {
			return
		}
		if err != nil && err != unix.EINTR || time.Now().After(deadline) { //nolint:errorlint // syscalls return it bare
			t.Fatalf("poll: %d, %v", n, err)
		}
	}
}

func (s rawSocket) hear(t *testing.T) string {
	t.Helper()
	var all []byte
	for b := make([]byte, 200); ; {
		s.wait(t, unix.POLLIN)
		n, err := unix.Read(int(s), b)
		if err != nil || n == 0 {
			return string(all)
		}
		all = append(all, b[:n]...)
	}
}

func (s rawSocket) peer(t *testing.T) netip.AddrPort {
	t.Helper()
	sa, err := unix.Getpeername(int(s))
	if err != nil {
		t.Fatal(err)
	}
	return addrPort(sa)
}

func port(n uint16) redirect.PortRange { return redirect.PortRange{First: n, Last: n} }

// splitLines splits text into lines and words.
func splitLines(text string) (out [][]string) {
	for l := range strings.Lines(text) {
		out = append(out, strings.Fields(l))
	}
	return out
}

func getsockopt(fd, level, name int, b []byte, size *uint32) error {
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name), uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(size)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
