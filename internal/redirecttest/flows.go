//go:build linux

package redirecttest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// The five flows and everything that is to stay out of them, with the original
// destination as the proxy reads it.
func (u suite) flows(t *testing.T) {
	s := u.newScene(t)
	s.play(t)
	u.install(t, s.host, withExclusions())
	for _, f := range families {
		host, client, peer := f.of(s.host), f.of(s.client), f.of(s.peer)
		to := netip.AddrPortFrom
		for _, c := range []struct {
			name string
			from *testnet.Host
			to   netip.AddrPort
			opts []testnet.Option
			want string
		}{
			{"F1 application to another host", s.host, to(client, 80), nil, fmt.Sprintf("outbound %s", to(client, 80))},
			{"F1 application to a service", s.host, to(f.vip, 80), nil, fmt.Sprintf("outbound %s", to(f.vip, 80))},
			{"F1 application of another user", s.host, to(client, 80), opts(testnet.UID(1000)), fmt.Sprintf("outbound %s", to(client, 80))},
			{"F2 proxy to its own host", s.host, to(host, 8080), opts(testnet.Mark(markOutbound)), fmt.Sprintf("inbound %s", to(host, 8080))},
			{"F3 application to its own host", s.host, to(host, 8080), nil, "workload"},
			{"F3 application to loopback", s.host, to(f.loopback, 8080), nil, "workload"},
			{"F4 proxy to the workload on loopback", s.host, to(f.loopback, 8080), opts(testnet.Mark(markInbound)), "workload"},
			{"F4 proxy to the workload on its address", s.host, to(host, 8080), opts(testnet.Mark(markInbound)), "workload"},
			{"F5 proxy outbound", s.host, to(client, 80), opts(testnet.Mark(markOutbound)), "client"},
			{"F5 proxy inbound", s.host, to(client, 80), opts(testnet.Mark(markInbound)), "client"},
			{"F5 agent", s.host, to(client, 80), opts(testnet.Mark(markAgent)), "client"},
			{"F5 proxy as another user", s.host, to(client, 80), opts(testnet.Mark(markOutbound), testnet.UID(1000)), "client"},
			{"F5 proxy with others' mark bits", s.host, to(client, 80), opts(testnet.Mark(markOutbound | 0x4000)), "client"},
			{"somebody else's mark is no mark of ours", s.host, to(client, 80), opts(testnet.Mark(0x4000)), fmt.Sprintf("outbound %s", to(client, 80))},
			{"somebody else's mark does not enter", s.host, to(host, 8080), opts(testnet.Mark(0x4000)), "workload"},

			{"inbound to an enrolled port", s.client, to(host, 8080), nil, fmt.Sprintf("inbound %s", to(host, 8080))},
			{"inbound to an enrolled range", s.client, to(host, 9010), nil, fmt.Sprintf("inbound %s", to(host, 9010))},
			{"inbound beyond the range", s.client, to(host, 9011), nil, refusal},
			{"inbound to an undeclared port", s.client, to(host, 22), nil, "sshd"},
			{"inbound from an excluded source", s.peer, to(host, 8080), nil, "workload"},

			{"outbound to an excluded destination", s.host, to(peer, 80), nil, "peer"},
			{"outbound to an excluded port", s.host, to(client, 25), nil, "client"},
			{"outbound to an excluded range", s.host, to(client, 9443), nil, "client"},
			{"outbound of an excluded user", s.host, to(client, 80), opts(testnet.UID(4242)), "client"},
			{"services have no exclusions by port", s.host, to(f.vip, 9443), nil, fmt.Sprintf("outbound %s", to(f.vip, 9443))},
			{"services have no exclusions by user", s.host, to(f.vip, 80), opts(testnet.UID(4242)), fmt.Sprintf("outbound %s", to(f.vip, 80))},

			{"the inbound listener called directly", s.client, to(host, inboundPort), nil, refusal},
			{"the inbound listener called from its host", s.host, to(host, inboundPort), nil, refusal},
			{"the outbound listener called directly", s.host, to(f.loopback, outboundPort), nil, refusal},
		} {
			t.Run(f.name+"/"+c.name, func(t *testing.T) {
				if got := call(c.from, c.to, c.opts...); got != c.want {
					t.Errorf("%s was answered by %q, want %q", c.to, got, c.want)
				}
			})
		}
	}
	t.Run("IPv4/loopback is all of 127.0.0.0/8", func(t *testing.T) {
		if got := call(s.host, netip.MustParseAddrPort("127.0.0.53:8080")); got != "workload" {
			t.Errorf("127.0.0.53 was answered by %q, want the workload", got)
		}
	})
}

func opts(o ...testnet.Option) []testnet.Option { return o }

// An IPv6 socket that calls an IPv4-mapped address sends IPv4.
func (u suite) mappedSockets(t *testing.T) {
	s := u.newScene(t)
	s.play(t)
	u.install(t, s.host, everything())
	var got string
	err := s.host.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		if err := unix.Connect(fd, &unix.SockaddrInet6{Port: 80, Addr: s.client.IP4.As16()}); err != nil {
			return err
		}
		b := make([]byte, 100)
		n, err := unix.Read(fd, b)
		got = string(b[:max(n, 0)])
		return err
	})
	if want := "outbound " + netip.AddrPortFrom(s.client.IP4, 80).String(); err != nil || got != want {
		t.Errorf("answered by %q, %v, want %q", got, err, want)
	}
}

// Connections outlive a change of rules, and an idle one their absence.
func (u suite) longConnections(t *testing.T) {
	s := u.newScene(t)
	u.install(t, s.host, everything())
	for _, f := range families {
		all := map[string]string{"IPv4": "0.0.0.0", "IPv6": "[::]"}[f.name]
		says(s.host.Listen(t, all+":8080"), "workload")
		inbound := s.host.Listen(t, fmt.Sprintf("%s:%d", all, inboundPort), testnet.Transparent())
		outbound := s.host.Listen(t, netip.AddrPortFrom(f.loopback, outboundPort).String())
		for _, c := range []struct {
			name     string
			from     *testnet.Host
			to       netip.AddrPort
			listener *testnet.Listener
		}{
			{"inbound", s.client, f.at(s.host, 8080), inbound},
			{"outbound", s.host, f.at(s.client, 80), outbound},
			{"service", s.host, netip.AddrPortFrom(f.vip, 80), outbound},
		} {
			t.Run(f.name+"/"+c.name, func(t *testing.T) {
				caller := c.from.Dial(t, "tcp", c.to.String())
				proxy := c.listener.Accept(t)
				exchange(t, caller, proxy)
				u.install(t, s.host, withExclusions()) // other rules do not touch it
				exchange(t, proxy, caller)
				Settle(t, caller, proxy)
				u.uninstall(t, s.host)
				if c.name == "inbound" {
					exchange(t, caller, proxy) // needs no NAT
				}
				u.install(t, s.host, everything())
				exchange(t, proxy, caller)
			})
		}
	}
}

// Settle waits until connections are idle: nothing that they sent waits for
// its acknowledgement. A late one would meet no rules, and end an outbound
// connection.
func Settle(t *testing.T, conns ...*testnet.Conn) {
	t.Helper()
	deadline := time.Now().Add(testnet.Patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for _, c := range conns {
		raw, err := c.Conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		for waiting := 1; waiting > 0; <-tick.C {
			var ioctlErr error
			err := raw.Control(func(fd uintptr) { waiting, ioctlErr = unix.IoctlGetInt(int(fd), unix.TIOCOUTQ) })
			if err = errors.Join(err, ioctlErr); err != nil {
				t.Fatal(err)
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d bytes are not acknowledged", waiting)
			}
		}
	}
}

// exchange sends a megabyte from a to b and back.
func exchange(t *testing.T, a, b *testnet.Conn) {
	t.Helper()
	sent := make([]byte, 1<<20)
	_, _ = rand.Read(sent)
	deadline := time.Now().Add(testnet.Patience)
	for _, way := range [][2]*testnet.Conn{{a, b}, {b, a}} {
		from, to := way[0], way[1]
		_ = from.SetDeadline(deadline)
		_ = to.SetDeadline(deadline)
		wrote := make(chan error, 1)
		go func() {
			_, err := from.Write(sent)
			wrote <- err
		}()
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(to, got); err != nil {
			t.Fatalf("read: %v", err)
		}
		if err := <-wrote; err != nil {
			t.Fatalf("write: %v", err)
		}
		if !bytes.Equal(got, sent) {
			t.Fatal("what arrived is not what was sent")
		}
	}
}

// Connections from before the rules go on where they are.
func (u suite) earlierConnections(t *testing.T) {
	s := u.newScene(t)
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			workload := s.host.Listen(t, f.at(s.host, 8080).String())
			in := s.client.Dial(t, "tcp", f.at(s.host, 8080).String())
			atWorkload := workload.Accept(t)
			var out, atServer []*testnet.Conn
			for _, port := range []uint16{80, 53} {
				server := s.client.Listen(t, f.at(s.client, port).String())
				out = append(out, s.host.Dial(t, "tcp", f.at(s.client, port).String()))
				atServer = append(atServer, server.Accept(t))
			}
			u.install(t, s.host, everything())
			exchange(t, atWorkload, in) // the host speaks first, as sshd may
			for i := range out {
				exchange(t, out[i], atServer[i])
			}
			u.uninstall(t, s.host)
		})
	}
}

// While the proxy is away enrolled ports and calls are closed, never open.
func (u suite) closedWithoutProxy(t *testing.T) {
	s := u.newScene(t)
	says(s.host.Listen(t, "0.0.0.0:8080"), "workload")
	says(s.host.Listen(t, "[::]:8080"), "workload")
	says(s.client.Listen(t, "0.0.0.0:80"), "client")
	says(s.client.Listen(t, "[::]:80"), "client")
	u.install(t, s.host, everything())
	for _, f := range families {
		for _, c := range []struct {
			name string
			from *testnet.Host
			to   netip.AddrPort
			opts []testnet.Option
			want string
		}{
			{"inbound", s.client, f.at(s.host, 8080), nil, u.closed},
			{"F2", s.host, f.at(s.host, 8080), opts(testnet.Mark(markOutbound)), u.closed},
			{"F3", s.host, f.at(s.host, 8080), nil, "workload"},
			{"outbound", s.host, f.at(s.client, 80), nil, refusal},
			{"service", s.host, netip.AddrPortFrom(f.vip, 80), nil, refusal},
			{"a port without a workload", s.client, f.at(s.host, 9000), nil, u.closed},
		} {
			t.Run(f.name+"/"+c.name, func(t *testing.T) {
				if got := call(c.from, c.to, c.opts...); got != c.want {
					t.Errorf("%s was answered by %q, want %q", c.to, got, c.want)
				}
			})
		}
	}
}

// What a client sends to many ports of a host from few of its own arrives where
// it was sent: nothing folds two connections into one.
func (u suite) fanIn(t *testing.T) {
	s := u.newScene(t)
	s.play(t)
	r := everything()
	r.Inbound.Ports = []redirect.PortRange{{First: 7000, Last: 7049}}
	u.install(t, s.host, r)
	for _, f := range families {
		for from := uint16(40000); from < 40004; from++ {
			for port := uint16(7000); port < 7050; port++ {
				to := f.at(s.host, port)
				if got := call(s.client, to, testnet.From(f.at(s.client, from))); got != "inbound "+to.String() {
					t.Fatalf("%s, called from port %d, was answered by %q", to, from, got)
				}
			}
		}
	}
}
