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
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// The five flows and everything that is to stay out of them, with the original
// destination as the proxy reads it. What the host itself calls is called from
// IPv4-mapped sockets too.
func (u suite) flows(t *testing.T) {
	s := newScene(t)
	s.play(t)
	u.install(t, s.host, withExclusions())
	mark, uid := testnet.Mark, testnet.UID
	for _, f := range dialects {
		host, client, peer := s.host, s.client, s.peer
		in, out, vip := f.at(host, 8080), f.at(client, 80), netip.AddrPortFrom(f.vip, 80)
		local := netip.AddrPortFrom(f.loopback, 8080)
		proxied, entered := "outbound "+out.String(), "inbound "+in.String()
		t.Run(f.name, func(t *testing.T) {
			try(t, []flow{
				{name: "F1 application to another host", from: host, to: out, opts: f.opts, want: proxied},
				{name: "F1 application to a service", from: host, to: vip, opts: f.opts, want: "outbound " + vip.String()},
				{name: "F1 application of another user", from: host, to: out, opts: f.with(uid(1000)), want: proxied},
				{name: "F2 proxy to its own host", from: host, to: in, opts: f.with(mark(markOutbound)), want: entered},
				{name: "F3 application to its own host", from: host, to: in, opts: f.opts, want: "workload"},
				{name: "F3 application to loopback", from: host, to: local, opts: f.opts, want: "workload"},
				{name: "F4 proxy to the workload on loopback", from: host, to: local, opts: f.with(mark(markInbound)), want: "workload"},
				{name: "F4 proxy to the workload on its address", from: host, to: in, opts: f.with(mark(markInbound)), want: "workload"},
				{name: "F5 proxy outbound", from: host, to: out, opts: f.with(mark(markOutbound)), want: "client"},
				{name: "F5 proxy inbound", from: host, to: out, opts: f.with(mark(markInbound)), want: "client"},
				{name: "F5 agent", from: host, to: out, opts: f.with(mark(markAgent)), want: "client"},
				{name: "F5 proxy as another user", from: host, to: out, opts: f.with(mark(markOutbound), uid(1000)), want: "client"},
				{name: "F5 proxy with others' mark bits", from: host, to: out, opts: f.with(mark(markOutbound | 0x4000)), want: "client"},
				{name: "somebody else's mark is no mark of ours", from: host, to: out, opts: f.with(mark(0x4000)), want: proxied},
				{name: "somebody else's mark does not enter", from: host, to: in, opts: f.with(mark(0x4000)), want: "workload"},

				{name: "outbound to an excluded destination", from: host, to: f.at(peer, 80), opts: f.opts, want: "peer"},
				{name: "outbound to an excluded port", from: host, to: f.at(client, 25), opts: f.opts, want: "client"},
				{name: "outbound to an excluded range", from: host, to: f.at(client, 9443), opts: f.opts, want: "client"},
				{name: "outbound of an excluded user", from: host, to: out, opts: f.with(uid(4242)), want: "client"},
				{name: "services have no exclusions by port", from: host, to: netip.AddrPortFrom(f.vip, 9443), opts: f.opts, want: "outbound " + netip.AddrPortFrom(f.vip, 9443).String()},
				{name: "services have no exclusions by user", from: host, to: vip, opts: f.with(uid(4242)), want: "outbound " + vip.String()},
				{name: "the inbound listener called from its host", from: host, to: f.at(host, inboundPort), opts: f.opts, want: refusal},
				{name: "the outbound listener called directly", from: host, to: netip.AddrPortFrom(f.loopback, outboundPort), opts: f.opts, want: refusal},

				{name: "inbound to an enrolled port", from: client, to: in, opts: f.opts, want: entered},
				{name: "inbound to an enrolled range", from: client, to: f.at(host, 9010), opts: f.opts, want: "inbound " + f.at(host, 9010).String()},
				{name: "inbound beyond the range", from: client, to: f.at(host, 9011), opts: f.opts, want: refusal},
				{name: "inbound to an undeclared port", from: client, to: f.at(host, 22), opts: f.opts, want: "sshd"},
				{name: "inbound from an excluded source", from: peer, to: in, opts: f.opts, want: "workload"},
				{name: "the inbound listener called directly", from: client, to: f.at(host, inboundPort), opts: f.opts, want: refusal},
			})
		})
	}
	all127 := netip.MustParseAddrPort("127.0.0.53:8080")
	flow{name: "IPv4 loopback is all of 127.0.0.0/8", from: s.host, to: all127, want: "workload"}.try(t)
}

// Connections outlive a change of rules, and an idle one their absence.
func (u suite) longConnections(t *testing.T) {
	s := newScene(t)
	u.install(t, s.host, everything())
	for _, f := range families {
		says(s.host.Listen(t, f.all+":8080"), "workload")
		inbound := s.host.Listen(t, fmt.Sprintf("%s:%d", f.all, inboundPort), testnet.Transparent())
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
	s := newScene(t)
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
	s := newScene(t)
	for _, f := range families {
		says(s.host.Listen(t, f.all+":8080"), "workload")
		says(s.client.Listen(t, f.all+":80"), "client")
	}
	u.install(t, s.host, everything())
	for _, f := range families {
		in := f.at(s.host, 8080)
		try(t, []flow{
			{name: f.name + "/inbound", from: s.client, to: in, want: u.closed()},
			{name: f.name + "/F2", from: s.host, to: in, opts: f.with(testnet.Mark(markOutbound)), want: u.closed()},
			{name: f.name + "/F3", from: s.host, to: in, want: "workload"},
			{name: f.name + "/outbound", from: s.host, to: f.at(s.client, 80), want: refusal},
			{name: f.name + "/service", from: s.host, to: netip.AddrPortFrom(f.vip, 80), want: refusal},
			{name: f.name + "/DNS", from: s.host, udp: true, to: f.at(s.client, 53), want: nobody}, // NAT loses the ICMP error in its zone
			{name: f.name + "/DNS over TCP", from: s.host, to: f.at(s.client, 53), want: refusal},
			{name: f.name + "/a port without a workload", from: s.client, to: f.at(s.host, 9000), want: u.closed()},
		})
	}
	if u.WaitsWhileAway { // and whoever waits is let in
		in := families[0].at(s.host, 8080)
		answer := make(chan string, 1)
		began := time.Now()
		go func() { answer <- call(s.client, in, testnet.Within(testnet.Patience)) }()
		until(t, testnet.Patience, func() string {
			if !strings.Contains(s.client.Run(t, "cat", "/proc/net/tcp"), fmt.Sprintf(":%04X 02 ", in.Port())) {
				return "nobody waits"
			}
			return ""
		})
		s.proxy(t)
		if got, want := <-answer, "inbound "+in.String(); got != want {
			t.Errorf("who waited for the proxy was answered by %q, want %q", got, want)
		}
		t.Logf("who waited for the proxy was answered after %s", time.Since(began).Round(time.Millisecond))
	}
	rewritten := everything()
	rewritten.Inbound.Method = redirect.Rewrite
	other := newScene(t)
	if u.refuses(t, other.host, rewritten) {
		return
	}
	for _, f := range families {
		says(other.host.Listen(t, f.all+":8080"), "workload")
		try(t, []flow{{name: f.name + "/rewritten inbound", from: other.client, to: f.at(other.host, 8080), want: refusal}})
	}
}

// What a client sends to many ports of a host from few of its own arrives where
// it was sent: nothing folds two connections into one.
func (u suite) fanIn(t *testing.T) {
	s := newScene(t)
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
