//go:build linux

package redirecttest

import (
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
	restore := func(programs []iptablesProgram) func(t *testing.T, h *testnet.Host) {
		return func(t *testing.T, h *testnet.Host) {
			for _, p := range programs {
				h.Pipe(t, iptablesStrictly, p.name+"-restore", "--noflush")
			}
		}
	}
	for name, set := range map[string]func(t *testing.T, h *testnet.Host){
		"nft":             func(t *testing.T, h *testnet.Host) { h.Pipe(t, strictly, "nft", "-f", "-") },
		"iptables-nft":    restore(iptablesPrograms[:2]),
		"iptables-legacy": restore(iptablesPrograms[2:]),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.play(t)
			set(t, s.host) // of the ports, 8080 is let in
			u.install(t, s.host, everything())
			for _, f := range families {
				in, out := f.at(s.host, 8080), f.at(s.client, 80)
				try(t, []flow{
					{name: f.name + "/enrolled and let in", from: s.client, to: in, want: "inbound " + in.String()},
					{name: f.name + "/enrolled, not let in", from: s.client, to: f.at(s.host, 9000), want: silence},
					{name: f.name + "/not enrolled, not let in", from: s.client, to: f.at(s.host, 22), want: silence},
					{name: f.name + "/the inbound listener", from: s.client, to: f.at(s.host, inboundPort), want: nobody},
					{name: f.name + "/the outbound listener", from: s.host, to: netip.AddrPortFrom(f.loopback, outboundPort), want: refusal},
					{name: f.name + "/outbound", from: s.host, to: out, want: "outbound " + out.String()},
				})
			}
		})
	}
}

// A host with nothing but its loopback can still call services.
func (u suite) servicesNeedNoRoute(t *testing.T) {
	s := newScene(t)
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
	s := newScene(t)
	s.play(t)
	says(s.host.Listen(t, "0.0.0.0:80"), "somebody on this host")
	says(s.host.Listen(t, "[::]:80"), "somebody on this host")
	for _, route := range []string{"240.0.0.0/4 dev lo proto 87 src 127.0.0.1", "fd57:6566:7400::/64 dev lo proto 87 src ::1"} {
		s.host.Run(t, "ip", append([]string{"route", "add"}, strings.Fields(route)...)...)
	}
	for _, f := range families {
		if got := call(s.host, netip.AddrPortFrom(f.vip, 80), testnet.Within(quiet)); got != silence && got != "dial tcp ["+f.vip.String()+"]:80: connect: network is unreachable" {
			t.Errorf("%s was answered by %q, want nobody", f.vip, got)
		}
	}
}
