//go:build linux

package redirecttest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testnet"
)

// answers makes a UDP server that says its name before what it was asked.
func answers(c *net.UDPConn, name string) {
	go func() {
		b := make([]byte, 512)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = c.WriteToUDPAddrPort([]byte(name+" "+string(b[:n])), from)
		}
	}()
}

// ask sends "q" on a connected socket, which takes answers only from where it asked.
func ask(c *testnet.Conn, within time.Duration) string {
	if _, err := c.Write([]byte("q")); err != nil {
		return failure(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(within))
	b := make([]byte, 512)
	n, err := c.Read(b)
	if err != nil {
		return failure(err)
	}
	return string(b[:n])
}

// asks is ask on a new socket.
func asks(h *testnet.Host, to netip.AddrPort, opts ...testnet.Option) string {
	return flow{from: h, udp: true, to: to, opts: opts}.answer()
}

func (s scene) playDNS(t *testing.T) {
	t.Helper()
	// The agent marks the sockets that it answers from, or not: both must do.
	answers(s.host.ListenUDP(t, fmt.Sprintf("127.0.0.1:%d", agentDNS), testnet.Mark(markAgent)), "agent")
	answers(s.host.ListenUDP(t, fmt.Sprintf("[::1]:%d", agentDNS)), "agent")
	says(s.host.Listen(t, fmt.Sprintf("127.0.0.1:%d", agentDNS)), "agent")
	says(s.host.Listen(t, fmt.Sprintf("[::1]:%d", agentDNS)), "agent")
	for _, all := range []string{"0.0.0.0:53", "[::]:53"} {
		answers(s.client.ListenUDP(t, all), "server")
		answers(s.peer.ListenUDP(t, all), "peer")
		says(s.client.Listen(t, all), "server")
		says(s.peer.Listen(t, all), "peer")
	}
}

// strictly makes the host's own firewall stateful, as ufw and firewalld do.
const strictly = `table inet host {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		iif "lo" accept
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
		tcp dport 8080 accept
	}
}
`

func (u suite) dns(t *testing.T) {
	s := newScene(t)
	s.playDNS(t)
	s.host.Pipe(t, strictly, "nft", "-f", "-")
	u.install(t, s.host, withExclusions())
	mark, excluded := testnet.Mark, testnet.UID(4353)
	for _, f := range dialects {
		server, loopback := f.at(s.client, 53), netip.AddrPortFrom(f.loopback, 53)
		t.Run(f.name, func(t *testing.T) {
			try(t, []flow{
				{from: s.host, name: "UDP/application to a server", udp: true, to: server, opts: f.opts, want: "agent q"},
				{from: s.host, name: "UDP/application to another server", udp: true, to: f.at(s.peer, 53), opts: f.opts, want: "agent q"},
				{from: s.host, name: "UDP/application to its own host", udp: true, to: f.at(s.host, 53), opts: f.opts, want: "agent q"},
				{from: s.host, name: "UDP/application to loopback", udp: true, to: loopback, opts: f.opts, want: "agent q"},
				{from: s.host, name: "UDP/agent directly", udp: true, to: netip.AddrPortFrom(f.loopback, agentDNS), opts: f.opts, want: "agent q"},
				{from: s.host, name: "UDP/agent to a server", udp: true, to: server, opts: f.with(mark(markAgent)), want: "server q"},
				{from: s.host, name: "UDP/proxy to a server", udp: true, to: server, opts: f.with(mark(markOutbound)), want: "server q"},
				{from: s.host, name: "UDP/excluded user to a server", udp: true, to: server, opts: f.with(excluded), want: "server q"},
				{from: s.host, name: "TCP/application to a server", to: server, opts: f.opts, want: "agent"},
				{from: s.host, name: "TCP/application to loopback", to: loopback, opts: f.opts, want: "agent"},
				{from: s.host, name: "TCP/agent to a server", to: server, opts: f.with(mark(markAgent)), want: "server"},
				{from: s.host, name: "TCP/excluded user to a server", to: server, opts: f.with(excluded), want: "server"},
			})
		})
	}
	try(t, []flow{{name: "a query from elsewhere is not ours", from: s.peer, udp: true, to: netip.AddrPortFrom(s.client.IP4, 53), want: "server q"}})
}

// The host's resolver listens on 127.0.0.53, as systemd-resolved does, and has
// its names from a server elsewhere. Applications that ask it reach the agent;
// its own queries, and those of who may ask it, go where they are sent.
func (u suite) localResolver(t *testing.T) {
	s := newScene(t)
	s.playDNS(t)
	const resolver = 4353
	stub := s.host.ListenUDP(t, "127.0.0.53:53", testnet.UID(resolver))
	go func() {
		b := make([]byte, 512)
		for {
			_, from, err := stub.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			upstream := asks(s.host, netip.AddrPortFrom(s.client.IP4, 53), testnet.UID(resolver))
			_, _ = stub.WriteToUDPAddrPort([]byte("stub, by the "+upstream), from)
		}
	}()
	s.host.Pipe(t, strictly, "nft", "-f", "-")
	u.install(t, s.host, withExclusions())
	at53 := netip.MustParseAddrPort("127.0.0.53:53")
	try(t, []flow{
		{name: "by an application", from: s.host, udp: true, to: at53, want: "agent q"},
		{name: "by the agent", from: s.host, udp: true, to: at53, opts: []testnet.Option{testnet.Mark(markAgent)}, want: "stub, by the server q"},
		{name: "by itself", from: s.host, udp: true, to: at53, opts: []testnet.Option{testnet.UID(resolver)}, want: "stub, by the server q"},
	})
}

// Libraries ask for A and AAAA on one socket at once. Each question is answered
// once, whatever its place in line.
func (u suite) questionsOnOneSocket(t *testing.T) {
	s := newScene(t)
	s.playDNS(t)
	u.install(t, s.host, everything())
	const (
		pairs  = 100000
		ahead  = 64 // pairs that wait for their answers
		answer = "agent "
	)
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			c := s.host.Dial(t, "udp", f.at(s.client, 53).String())
			open := make(chan struct{}, ahead)
			var sent atomic.Uint64 // pairs that were begun
			go func() {
				var question [8]byte
				for i := range uint64(pairs) {
					open <- struct{}{}
					sent.Add(1)
					for kind := range uint64(2) {
						binary.BigEndian.PutUint64(question[:], 2*i+kind)
						if _, err := c.Write(question[:]); err != nil {
							return // the reader will miss it
						}
					}
				}
			}()
			answered := make([]uint8, pairs)
			b := make([]byte, 64)
			dropped := softnetDrops(t)
			resent := 0
			for done := 0; done < pairs; {
				_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
				n, err := c.Read(b)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					// Whatever else this machine is doing, its queues overflow:
					// no more may be asked again than it says that it dropped.
					for i := range sent.Load() {
						for kind := range uint64(2) {
							if answered[i]&(1<<kind) != 0 {
								continue
							}
							resent++
							if _, err := c.Write(binary.BigEndian.AppendUint64(nil, 2*i+kind)); err != nil {
								t.Fatal(err)
							}
						}
					}
					if most := softnetDrops(t) - dropped; resent > most {
						t.Fatalf("after %d pairs: %d questions had no answer, though the machine dropped no more than %d packets", done, resent, most)
					}
					continue
				}
				if err != nil || n != len(answer)+8 || string(b[:len(answer)]) != answer {
					t.Fatalf("after %d pairs: answered by %q, %v", done, b[:n], err)
				}
				question := binary.BigEndian.Uint64(b[len(answer):n])
				i, kind := question/2, uint8(1)<<(question%2)
				if answered[i]&kind != 0 {
					t.Fatalf("question %d was answered twice", question)
				}
				if answered[i] |= kind; answered[i] == 3 {
					done++
					<-open
				}
			}
		})
	}
}

// softnetDrops is how many packets the machine dropped as its queues between
// devices were full (the second column of softnet_stat, one line a CPU).
func softnetDrops(t *testing.T) (n int) {
	t.Helper()
	text, err := os.ReadFile("/proc/net/softnet_stat")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		drops, err := strconv.ParseUint(strings.Fields(line)[1], 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		n += int(drops)
	}
	return n
}

// One unconnected socket may ask several servers; each answer comes from the
// server that was asked, though all come from the agent.
func (u suite) serversOnOneSocket(t *testing.T) {
	s := newScene(t)
	s.playDNS(t)
	u.install(t, s.host, everything())
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			c := s.host.ListenUDP(t, netip.AddrPortFrom(f.of(s.host), 40000).String())
			for _, to := range []netip.AddrPort{f.at(s.client, 53), f.at(s.peer, 53), f.at(s.client, 53)} {
				if _, err := c.WriteToUDPAddrPort([]byte("q"), to); err != nil {
					t.Fatal(err)
				}
				_ = c.SetReadDeadline(time.Now().Add(testnet.DialTimeout))
				b := make([]byte, 64)
				n, from, err := c.ReadFromUDPAddrPort(b)
				if err != nil || from != to || string(b[:n]) != "agent q" {
					t.Errorf("%s was asked; %s answered %q, %v", to, from, b[:n], err)
				}
			}
		})
	}
}

// The port that an application asked from a moment ago is soon the agent's own,
// and the agent's query must still leave the host. This is what the zone is for.
func (u suite) agentReusesPort(t *testing.T) {
	s := newScene(t)
	s.playDNS(t)
	s.host.Pipe(t, strictly, "nft", "-f", "-")
	u.install(t, s.host, everything())
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			from := testnet.From(netip.AddrPortFrom(f.of(s.host), 41000))
			to := f.at(s.client, 53).String()
			for range 3 {
				app := s.host.Dial(t, "udp", to, from)
				if got := ask(app, testnet.DialTimeout); got != "agent q" {
					t.Errorf("the application was answered by %q, want the agent", got)
				}
				_ = app.Close()
				agent := s.host.Dial(t, "udp", to, from, testnet.Mark(markAgent))
				if got := ask(agent, testnet.DialTimeout); got != "server q" {
					t.Errorf("the agent was answered by %q, want the server", got)
				}
				_ = agent.Close()
			}
		})
	}
}

// What is no query but has a port of the agent stays as it is, and an answer to
// a direct query belongs to it, as a firewall sees that trusts nothing new.
func (u suite) onlyQueriesZoned(t *testing.T) {
	s := newScene(t)
	s.playDNS(t)
	s.host.Pipe(t, `table inet host {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established accept
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
		udp dport 15053 ct state new accept
	}
}
`, "nft", "-f", "-")
	u.install(t, s.host, everything())
	for _, f := range families {
		t.Run(f.name+"/direct", func(t *testing.T) {
			if got := asks(s.host, netip.AddrPortFrom(f.loopback, agentDNS)); got != "agent q" {
				t.Errorf("answered %q, want agent q", got)
			}
		})
		t.Run(f.name+"/port", func(t *testing.T) {
			answers(s.client.ListenUDP(t, f.at(s.client, 5000).String()), "client")
			from := testnet.From(f.at(s.host, agentDNS))
			// An answer that looked new would be let in by its port: ask from
			// where the firewall knows no port.
			s.host.Run(t, "nft", "flush chain inet host input; add rule inet host input ct state established accept; add rule inet host input icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept")
			if got := asks(s.host, f.at(s.client, 5000), from); got != "client q" {
				t.Errorf("answered %q, want client q", got)
			}
			s.host.Run(t, "nft", "add rule inet host input udp dport 15053 ct state new accept")
		})
	}
}
