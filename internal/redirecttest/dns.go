//go:build linux

package redirecttest

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
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
func ask(t *testing.T, c *testnet.Conn) string {
	t.Helper()
	if _, err := c.Write([]byte("q")); err != nil {
		return failure(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(testnet.DialTimeout))
	b := make([]byte, 512)
	n, err := c.Read(b)
	if err != nil {
		return failure(err)
	}
	return string(b[:n])
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
	}
	answers(s.host.ListenUDP(t, "127.0.0.53:53"), "stub")
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
	s := u.newScene(t)
	s.playDNS(t)
	s.host.Pipe(t, strictly, "nft", "-f", "-")
	u.install(t, s.host, withExclusions())
	stub := netip.MustParseAddrPort("127.0.0.53:53")
	for _, f := range families {
		server, peer := f.at(s.client, 53), f.at(s.peer, 53)
		for _, c := range []struct {
			name string
			to   netip.AddrPort
			opts []testnet.Option
			want string
		}{
			{"application to a server", server, nil, "agent q"},
			{"application to another server", peer, nil, "agent q"},
			{"application to its own host", f.at(s.host, 53), nil, "agent q"},
			{"application to loopback", netip.AddrPortFrom(f.loopback, 53), nil, "agent q"},
			{"agent directly", netip.AddrPortFrom(f.loopback, agentDNS), nil, "agent q"},
			{"agent to a server", server, opts(testnet.Mark(markAgent)), "server q"},
			{"proxy to a server", server, opts(testnet.Mark(markOutbound)), "server q"},
			{"excluded user to a server", server, opts(testnet.UID(4353)), "server q"},
		} {
			t.Run(f.name+"/UDP/"+c.name, func(t *testing.T) {
				if got := ask(t, s.host.Dial(t, "udp", c.to.String(), c.opts...)); got != c.want {
					t.Errorf("%s answered %q, want %q", c.to, got, c.want)
				}
			})
		}
		for _, c := range []struct {
			name string
			to   netip.AddrPort
			opts []testnet.Option
			want string
		}{
			{"application to a server", server, nil, "agent"},
			{"application to loopback", netip.AddrPortFrom(f.loopback, 53), nil, "agent"},
			{"agent to a server", server, opts(testnet.Mark(markAgent)), "server"},
			{"excluded user to a server", server, opts(testnet.UID(4353)), "server"},
		} {
			t.Run(f.name+"/TCP/"+c.name, func(t *testing.T) {
				if got := call(s.host, c.to, c.opts...); got != c.want {
					t.Errorf("%s answered %q, want %q", c.to, got, c.want)
				}
			})
		}
	}
	for name, o := range map[string][]testnet.Option{"agent": nil, "stub": opts(testnet.UID(4353))} {
		t.Run("resolved's stub is asked: "+name, func(t *testing.T) {
			if got := ask(t, s.host.Dial(t, "udp", stub.String(), o...)); got != name+" q" {
				t.Errorf("%s answered %q, want %q", stub, got, name+" q")
			}
		})
	}
	t.Run("a query from elsewhere is not ours", func(t *testing.T) {
		if got := ask(t, s.peer.Dial(t, "udp", netip.AddrPortFrom(s.client.IP4, 53).String())); got != "server q" {
			t.Errorf("answered %q, want server q", got)
		}
	})
}

// Libraries ask for A and AAAA on one socket at once.
func (u suite) questionsOnOneSocket(t *testing.T) {
	s := u.newScene(t)
	s.playDNS(t)
	u.install(t, s.host, everything())
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			c := s.host.Dial(t, "udp", f.at(s.client, 53).String())
			const rounds = 1000
			for i := range rounds {
				var got []string
				for _, kind := range []string{"A", "AAAA"} {
					if _, err := fmt.Fprintf(c, "%s%d", kind, i); err != nil {
						t.Fatal(err)
					}
				}
				for range 2 {
					_ = c.SetReadDeadline(time.Now().Add(testnet.Patience))
					b := make([]byte, 64)
					n, err := c.Read(b)
					if err != nil {
						t.Fatalf("round %d: got %q, then %v", i, got, err)
					}
					got = append(got, string(b[:n]))
				}
				slices.Sort(got)
				if want := []string{fmt.Sprintf("agent A%d", i), fmt.Sprintf("agent AAAA%d", i)}; !slices.Equal(got, want) {
					t.Fatalf("got %q, want %q", got, want)
				}
			}
		})
	}
}

// One unconnected socket may ask several servers; each answer comes from the
// server that was asked, though all come from the agent.
func (u suite) serversOnOneSocket(t *testing.T) {
	s := u.newScene(t)
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
	s := u.newScene(t)
	s.playDNS(t)
	s.host.Pipe(t, strictly, "nft", "-f", "-")
	u.install(t, s.host, everything())
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			from := testnet.From(netip.AddrPortFrom(f.of(s.host), 41000))
			to := f.at(s.client, 53).String()
			for range 3 {
				app := s.host.Dial(t, "udp", to, from)
				if got := ask(t, app); got != "agent q" {
					t.Errorf("the application was answered by %q, want the agent", got)
				}
				_ = app.Close()
				agent := s.host.Dial(t, "udp", to, from, testnet.Mark(markAgent))
				if got := ask(t, agent); got != "server q" {
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
	s := u.newScene(t)
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
			if got := ask(t, s.host.Dial(t, "udp", netip.AddrPortFrom(f.loopback, agentDNS).String())); got != "agent q" {
				t.Errorf("answered %q, want agent q", got)
			}
		})
		t.Run(f.name+"/port", func(t *testing.T) {
			answers(s.client.ListenUDP(t, f.at(s.client, 5000).String()), "client")
			from := testnet.From(f.at(s.host, agentDNS))
			// An answer that looked new would be let in by its port: ask from
			// where the firewall knows no port.
			s.host.Run(t, "nft", "flush chain inet host input; add rule inet host input ct state established accept; add rule inet host input icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept")
			if got := ask(t, s.host.Dial(t, "udp", f.at(s.client, 5000).String(), from)); got != "client q" {
				t.Errorf("answered %q, want client q", got)
			}
			s.host.Run(t, "nft", "add rule inet host input udp dport 15053 ct state new accept")
		})
	}
}
