//go:build linux

package redirecttest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/testnet"
)

// A scene is the host under test between two others. Everything that listens
// says who it is, so that a connection's answer tells where it arrived.
type scene struct {
	client *testnet.Host // calls the host, and is called
	host   *testnet.Host
	peer   *testnet.Host // the one that the rules exclude, 198.51.100.12
}

func newScene(t *testing.T) scene {
	t.Helper()
	hosts := testnet.Hosts(t, 3)
	return scene{client: hosts[0], host: hosts[1], peer: hosts[2]}
}

// play starts a proxy, a workload on 8080, an sshd on 22 and servers elsewhere.
func (s scene) play(t *testing.T) {
	t.Helper()
	s.proxy(t)
	for _, all := range []string{"0.0.0.0", "[::]"} {
		says(s.host.Listen(t, all+":8080"), "workload")
		says(s.host.Listen(t, all+":22"), "sshd")
		for _, port := range []string{"25", "80", "9443"} {
			says(s.client.Listen(t, all+":"+port), "client")
			says(s.peer.Listen(t, all+":"+port), "peer")
		}
	}
}

func (s scene) proxy(t *testing.T) {
	t.Helper()
	s.proxyAt(t, "", inboundPort, outboundPort)
}

// proxyAt starts a proxy that is told from others by its name.
func (s scene) proxyAt(t *testing.T, name string, inbound, outbound uint16) {
	t.Helper()
	for _, all := range []string{"0.0.0.0", "[::]"} {
		s.host.Listen(t, fmt.Sprintf("%s:%d", all, inbound), testnet.Transparent()).Serve(func(c *testnet.Conn) string {
			return name + "inbound " + destination(c).String()
		})
	}
	for _, loopback := range []string{"127.0.0.1", "[::1]"} {
		s.host.Listen(t, fmt.Sprintf("%s:%d", loopback, outbound)).Serve(func(c *testnet.Conn) string {
			return name + "outbound " + destination(c).String()
		})
	}
}

// destination is where the caller wanted to go, as Envoy finds it out: what
// conntrack knows, else where the connection arrived.
func destination(c *testnet.Conn) netip.AddrPort {
	if dst, err := c.OriginalDestination(); err == nil {
		return dst
	}
	return c.Local()
}

func says(l *testnet.Listener, word string) { l.Serve(func(*testnet.Conn) string { return word }) }

// Answers that no listener gives.
const (
	refusal = "refused"
	silence = "silence"
	nobody  = "refused or silence"
)

// quiet is how long a silence that is wanted is waited for.
const quiet = 500 * time.Millisecond

// A flow is a call, and who is to answer it.
type flow struct {
	name string
	from *testnet.Host
	udp  bool
	to   netip.AddrPort
	opts []testnet.Option
	want string
}

// try makes calls one after the other.
func try(t *testing.T, flows []flow) {
	t.Helper()
	for _, f := range flows {
		t.Run(f.name, func(t *testing.T) { f.try(t) })
	}
}

func (f flow) try(t *testing.T) {
	t.Helper()
	if got := f.answer(); got != f.want && (f.want != nobody || got != refusal && got != silence) {
		t.Errorf("%s: %s was answered by %q, want %q", f.name, f.to, got, f.want)
	}
}

// answer makes the call.
func (f flow) answer() string {
	within := testnet.DialTimeout
	if f.want == silence || f.want == nobody {
		within = quiet
	}
	o := append([]testnet.Option{testnet.Within(within)}, f.opts...)
	if !f.udp {
		return call(f.from, f.to, o...)
	}
	c, err := f.from.TryDial("udp", f.to.String(), o...)
	if err != nil {
		return failure(err)
	}
	defer c.Close()
	return ask(c, within)
}

// call connects and returns the answer.
func call(h *testnet.Host, to netip.AddrPort, opts ...testnet.Option) string {
	c, err := h.TryDial("tcp", to.String(), opts...)
	if err != nil {
		return failure(err)
	}
	defer c.Close()
	return hear(c)
}

// hear returns what is said on a connection.
func hear(c *testnet.Conn) string {
	_ = c.SetReadDeadline(time.Now().Add(testnet.Patience))
	b, err := io.ReadAll(c)
	if err != nil {
		return failure(err)
	}
	return string(b)
}

func failure(err error) string {
	var late net.Error
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return refusal
	case errors.As(err, &late) && late.Timeout():
		return silence
	}
	return err.Error()
}

// A family is a host's addresses in IPv4 or IPv6, and how its callers dial.
type family struct {
	name     string
	of       func(*testnet.Host) netip.Addr
	all      string
	loopback netip.Addr
	vip      netip.Addr
	opts     []testnet.Option
}

var families = []family{
	{"IPv4", func(h *testnet.Host) netip.Addr { return h.IP4 }, "0.0.0.0", netip.MustParseAddr("127.0.0.1"), vip4, nil},
	{"IPv6", func(h *testnet.Host) netip.Addr { return h.IP6 }, "[::]", netip.IPv6Loopback(), vip6, nil},
}

// dialects are the families and IPv4 as sockets of IPv6 speak it.
var dialects = append(families[:2:2], func() family {
	mapped := families[0]
	mapped.name, mapped.opts = "IPv4-mapped", []testnet.Option{testnet.Mapped()}
	return mapped
}())

// at is the host's address with a port.
func (f family) at(h *testnet.Host, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(f.of(h), port)
}

// with are a caller's options in the family.
func (f family) with(o ...testnet.Option) []testnet.Option { return append(o, f.opts...) }
