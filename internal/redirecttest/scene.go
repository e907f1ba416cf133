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

func (u suite) newScene(t *testing.T) scene {
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
	for _, all := range []string{"0.0.0.0", "[::]"} {
		s.host.Listen(t, fmt.Sprintf("%s:%d", all, inboundPort), testnet.Transparent()).Serve(func(c *testnet.Conn) string {
			return "inbound " + c.Local().String()
		})
	}
	for _, loopback := range []string{"127.0.0.1", "[::1]"} {
		s.host.Listen(t, fmt.Sprintf("%s:%d", loopback, outboundPort)).Serve(func(c *testnet.Conn) string {
			dst, err := c.OriginalDestination()
			if err != nil {
				return err.Error()
			}
			return "outbound " + dst.String()
		})
	}
}

func says(l *testnet.Listener, word string) { l.Serve(func(*testnet.Conn) string { return word }) }

// Answers that no listener gives.
const (
	refusal = "refused"
	silence = "silence"
)

// call connects and returns the answer.
func call(h *testnet.Host, to netip.AddrPort, opts ...testnet.Option) string {
	c, err := h.TryDial("tcp", to.String(), opts...)
	if err != nil {
		return failure(err)
	}
	defer c.Close()
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

// A family is a host's addresses in IPv4 or IPv6.
type family struct {
	name     string
	of       func(*testnet.Host) netip.Addr
	loopback netip.Addr
	vip      netip.Addr
}

var families = []family{
	{"IPv4", func(h *testnet.Host) netip.Addr { return h.IP4 }, netip.MustParseAddr("127.0.0.1"), vip4},
	{"IPv6", func(h *testnet.Host) netip.Addr { return h.IP6 }, netip.IPv6Loopback(), vip6},
}

// at is the host's address with a port.
func (f family) at(h *testnet.Host, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(f.of(h), port)
}
