//go:build linux

package redirecttest

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/testnet"
)

// iptablesStrictly is the same as strictly, by iptables.
const iptablesStrictly = `*filter
:INPUT DROP [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -p ipv6-icmp -j ACCEPT
-A INPUT -p tcp -m tcp --dport 8080 -j ACCEPT
COMMIT
`

// Its owner's firewall goes on deciding by the ports that it names, whatever
// it is made with.
func (u suite) hostFirewall(t *testing.T) {
	const nobody = "nobody" // refused or unanswered
	for name, set := range map[string]func(t *testing.T, h *testnet.Host){
		"nft": func(t *testing.T, h *testnet.Host) { h.Pipe(t, strictly, "nft", "-f", "-") },
		"iptables-nft": func(t *testing.T, h *testnet.Host) {
			for _, p := range iptablesPrograms[:2] {
				h.Pipe(t, iptablesStrictly, p.name+"-restore", "--noflush")
			}
		},
		"iptables-legacy": func(t *testing.T, h *testnet.Host) {
			for _, p := range iptablesPrograms[2:] {
				h.Pipe(t, iptablesStrictly, p.name+"-restore", "--noflush")
			}
		},
	} {
		s := u.newScene(t)
		s.play(t)
		set(t, s.host) // of the ports, 8080 is let in
		u.install(t, s.host, everything())
		for _, f := range families {
			in := f.at(s.host, 8080)
			for _, c := range []struct {
				name string
				from *testnet.Host
				to   netip.AddrPort
				want string
			}{
				{"enrolled and let in", s.client, in, "inbound " + in.String()},
				{"enrolled, not let in", s.client, f.at(s.host, 9000), silence},
				{"not enrolled, not let in", s.client, f.at(s.host, 22), silence},
				{"the inbound listener", s.client, f.at(s.host, inboundPort), nobody},
				{"the outbound listener", s.host, netip.AddrPortFrom(f.loopback, outboundPort), refusal},
				{"outbound", s.host, f.at(s.client, 80), "outbound " + f.at(s.client, 80).String()},
			} {
				t.Run(name+"/"+f.name+"/"+c.name, func(t *testing.T) {
					t.Parallel()
					got := call(c.from, c.to)
					if away := got == silence || got == refusal; got != c.want && (c.want != nobody || !away) {
						t.Errorf("%s was answered by %q, want %q", c.to, got, c.want)
					}
				})
			}
		}
	}
}

// What a host forwards, for containers or as a router, is nobody's here.
func (u suite) forwardedTraffic(t *testing.T) {
	s := u.newScene(t)
	s.play(t)
	u.install(t, s.host, everything())
	s.host.Run(t, "sh", "-ec", "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding; echo 0 > /proc/sys/net/ipv4/conf/all/send_redirects; echo 0 > /proc/sys/net/ipv4/conf/eth0/send_redirects")
	for _, f := range families {
		beyond := map[string]netip.Addr{"IPv4": netip.MustParseAddr("203.0.113.1"), "IPv6": netip.MustParseAddr("2001:db8:99::1")}[f.name]
		prefix := netip.PrefixFrom(beyond, beyond.BitLen()).String()
		s.peer.Run(t, "ip", "addr", "add", prefix, "dev", "lo", "nodad")
		s.host.Run(t, "ip", "route", "add", prefix, "via", f.of(s.peer).String())
		s.client.Run(t, "ip", "route", "add", prefix, "via", f.of(s.host).String())
		for _, port := range []uint16{8080, 53} {
			says(s.peer.Listen(t, netip.AddrPortFrom(beyond, port).String()), "beyond")
			t.Run(fmt.Sprintf("%s/%d", f.name, port), func(t *testing.T) {
				if got := call(s.client, netip.AddrPortFrom(beyond, port)); got != "beyond" {
					t.Errorf("a connection through the host was answered by %q, want what is beyond", got)
				}
			})
		}
		answers(s.peer.ListenUDP(t, netip.AddrPortFrom(beyond, 53).String()), "beyond")
		if got := ask(t, s.client.Dial(t, "udp", netip.AddrPortFrom(beyond, 53).String())); got != "beyond q" {
			t.Errorf("%s: a query through the host was answered by %q, want what is beyond", f.name, got)
		}
	}
}

// A host with nothing but its loopback can still call services.
func (u suite) servicesNeedNoRoute(t *testing.T) {
	s := u.newScene(t)
	s.proxy(t)
	s.host.Run(t, "ip", "link", "del", "eth0") // with every address but loopback's
	u.install(t, s.host, everything())
	for _, f := range families {
		vip := netip.AddrPortFrom(f.vip, 80)
		if got, want := call(s.host, vip), "outbound "+vip.String(); got != want {
			t.Errorf("%s was answered by %q, want %q", vip, got, want)
		}
	}
}

// Routes alone, as an interrupted Apply leaves them, lead nowhere.
func (u suite) routesAlone(t *testing.T) {
	s := u.newScene(t)
	s.play(t)
	says(s.host.Listen(t, "0.0.0.0:80"), "somebody on this host")
	says(s.host.Listen(t, "[::]:80"), "somebody on this host")
	for _, route := range []string{"240.0.0.0/4 dev lo proto 87 src 127.0.0.1", "fd57:6566:7400::/64 dev lo proto 87 src ::1"} {
		s.host.Run(t, "ip", append([]string{"route", "add"}, strings.Fields(route)...)...)
	}
	for _, f := range families {
		if got := call(s.host, netip.AddrPortFrom(f.vip, 80)); got != silence && got != "dial tcp ["+f.vip.String()+"]:80: connect: network is unreachable" {
			t.Errorf("%s was answered by %q, want nobody", f.vip, got)
		}
	}
}
