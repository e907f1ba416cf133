//go:build linux

package redirecttest

import (
	"net/netip"
	"testing"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// With every port enrolled the exclusions alone stay, and what the host calls
// itself goes on.
func (u suite) everyPort(t *testing.T) {
	s := newScene(t)
	s.play(t)
	s.playDNS(t)
	r := withExclusions()
	r.Inbound.Ports, r.Inbound.All = nil, true
	r.Inbound.ExcludePorts = []redirect.PortRange{{First: 22, Last: 22}, {First: 6000, Last: 6010}}
	session := s.host.Listen(t, s.host.IP4.String()+":2222")
	ssh := s.client.Dial(t, "tcp", session.Addr().String())
	sshd := session.Accept(t)
	if u.refuses(t, s.host, r) {
		return
	}
	u.agrees(t, s.host, r)
	exchange(t, sshd, ssh) // what was open stays open
	for _, f := range dialects {
		in, other, out := f.at(s.host, 8080), f.at(s.host, 12345), f.at(s.client, 80)
		proxy := f.with(testnet.Mark(markOutbound))
		try(t, []flow{
			{name: f.name + "/a workload's port", from: s.client, to: in, opts: f.opts, want: "inbound " + in.String()},
			{name: f.name + "/a port without a workload", from: s.client, to: other, opts: f.opts, want: "inbound " + other.String()},
			{name: f.name + "/sshd", from: s.client, to: f.at(s.host, 22), opts: f.opts, want: "sshd"},
			{name: f.name + "/an excluded range", from: s.client, to: f.at(s.host, 6010), opts: f.opts, want: refusal},
			{name: f.name + "/an excluded source", from: s.peer, to: in, opts: f.opts, want: "workload"},
			{name: f.name + "/the inbound listener", from: s.client, to: f.at(s.host, inboundPort), opts: f.opts, want: refusal},
			{name: f.name + "/the outbound listener", from: s.client, to: f.at(s.host, outboundPort), opts: f.opts, want: refusal},
			{name: f.name + "/the agent", from: s.client, to: f.at(s.host, agentDNS), opts: f.opts, want: refusal},
			{name: f.name + "/F2", from: s.host, to: in, opts: proxy, want: "inbound " + in.String()},
			{name: f.name + "/F3", from: s.host, to: in, opts: f.opts, want: "workload"},
			{name: f.name + "/F4", from: s.host, to: in, opts: f.with(testnet.Mark(markInbound)), want: "workload"},
			{name: f.name + "/the proxy's calls", from: s.host, to: out, opts: proxy, want: "client"},
			{name: f.name + "/outbound", from: s.host, to: out, opts: f.opts, want: "outbound " + out.String()},
			{name: f.name + "/DNS", from: s.host, udp: true, to: f.at(s.client, 53), opts: f.opts, want: "agent q"},
			{name: f.name + "/the agent's queries", from: s.host, to: f.at(s.client, 53), opts: f.with(testnet.Mark(markAgent)), want: "server"},
		})
	}
}

// Rewritten connections tell their destination too, and the host's firewall
// decides by the listener's port.
func (u suite) rewritten(t *testing.T) {
	s := newScene(t)
	s.play(t)
	r := withExclusions()
	r.Inbound.Method = redirect.Rewrite
	if u.refuses(t, s.host, r) {
		return
	}
	u.agrees(t, s.host, r)
	for _, f := range dialects {
		in, out := f.at(s.host, 8080), f.at(s.client, 80)
		try(t, []flow{
			{name: f.name + "/an enrolled port", from: s.client, to: in, opts: f.opts, want: "inbound " + in.String()},
			{name: f.name + "/an undeclared port", from: s.client, to: f.at(s.host, 22), opts: f.opts, want: "sshd"},
			{name: f.name + "/an excluded source", from: s.peer, to: in, opts: f.opts, want: "workload"},
			{name: f.name + "/the inbound listener", from: s.client, to: f.at(s.host, inboundPort), opts: f.opts, want: refusal},
			{name: f.name + "/F2", from: s.host, to: in, opts: f.with(testnet.Mark(markOutbound)), want: "inbound " + in.String()},
			{name: f.name + "/F3", from: s.host, to: in, opts: f.opts, want: "workload"},
			{name: f.name + "/F4", from: s.host, to: in, opts: f.with(testnet.Mark(markInbound)), want: "workload"},
			{name: f.name + "/F5", from: s.host, to: out, opts: f.with(testnet.Mark(markOutbound)), want: "client"},
			{name: f.name + "/F1", from: s.host, to: out, opts: f.opts, want: "outbound " + out.String()},
		})
	}
	s.host.Pipe(t, `table inet host {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
		tcp dport 15006 accept
	}
}
`, "nft", "-f", "-")
	for _, f := range families {
		in := f.at(s.host, 8080)
		flow{name: f.name + " through a firewall that lets the listener's port in", from: s.client, to: in, want: "inbound " + in.String()}.try(t)
	}
	// Back to what keeps destinations, and without a proxy.
	u.install(t, s.host, everything())
	u.agrees(t, s.host, everything())
	flow{name: "kept again, and the firewall means it", from: s.client, to: f4(s.host, 8080), want: silence}.try(t)
}

// inboundAlone: nobody's calls and queries are redirected, and the proxy's own
// calls to this host come in all the same.
func (u suite) inboundAlone(t *testing.T) {
	for _, method := range []redirect.Method{redirect.Keep, redirect.Rewrite} {
		t.Run(string(method), func(t *testing.T) {
			s := newScene(t)
			s.play(t)
			r := everything()
			r.Outbound, r.DNS, r.VIPs = redirect.Outbound{}, redirect.DNS{}, nil
			r.Inbound.Method = method
			if u.refuses(t, s.host, r) {
				return
			}
			u.agrees(t, s.host, r)
			for _, f := range dialects {
				in, out := f.at(s.host, 8080), f.at(s.client, 80)
				try(t, []flow{
					{name: f.name + "/an enrolled port", from: s.client, to: in, opts: f.opts, want: "inbound " + in.String()},
					{name: f.name + "/F1", from: s.host, to: out, opts: f.opts, want: "client"},
					{name: f.name + "/F2", from: s.host, to: in, opts: f.with(testnet.Mark(markOutbound)), want: "inbound " + in.String()},
					{name: f.name + "/F3", from: s.host, to: in, opts: f.opts, want: "workload"},
					{name: f.name + "/F4", from: s.host, to: in, opts: f.with(testnet.Mark(markInbound)), want: "workload"},
				})
			}
		})
	}
}

func f4(h *testnet.Host, port uint16) netip.AddrPort { return families[0].at(h, port) }

// connect lays a second cable between two hosts, by the same name at both ends.
func connect(t *testing.T, name string, a, b *testnet.Host, at map[*testnet.Host][]string) {
	t.Helper()
	a.Run(t, "ip", "link", "add", name, "type", "veth", "peer", "name", name, "netns", b.Path())
	for h, addresses := range at {
		h.Run(t, "ip", "link", "set", name, "up")
		for _, address := range addresses {
			h.Run(t, "ip", "addr", "add", address, "dev", name, "nodad")
		}
	}
}

// What comes in or goes out by an excluded interface is left alone.
func (u suite) interfaces(t *testing.T) {
	s := newScene(t)
	s.play(t)
	connect(t, "link0", s.host, s.client, map[*testnet.Host][]string{
		s.host: {"192.0.2.1/24", "2001:db8:2::1/64"}, s.client: {"192.0.2.2/24", "2001:db8:2::2/64"}})
	r := everything()
	r.Inbound.ExcludeInterfaces = []string{"link0"}
	r.Outbound.ExcludeInterfaces = []string{"link*", "tun0"}
	if u.refuses(t, s.host, r) {
		return
	}
	u.agrees(t, s.host, r)
	for _, f := range families {
		mine, theirs := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		if f.name == "IPv6" {
			mine, theirs = netip.MustParseAddr("2001:db8:2::1"), netip.MustParseAddr("2001:db8:2::2")
		}
		in, out, vip := f.at(s.host, 8080), f.at(s.client, 80), netip.AddrPortFrom(f.vip, 80)
		try(t, []flow{
			{name: f.name + "/in by the excluded one", from: s.client, to: netip.AddrPortFrom(mine, 8080), want: "workload"},
			{name: f.name + "/in by another", from: s.client, to: in, want: "inbound " + in.String()},
			{name: f.name + "/out by the excluded one", from: s.host, to: netip.AddrPortFrom(theirs, 80), want: "client"},
			{name: f.name + "/out by another", from: s.host, to: out, want: "outbound " + out.String()},
			{name: f.name + "/a service", from: s.host, to: vip, want: "outbound " + vip.String()},
			{name: f.name + "/F2", from: s.host, to: in, opts: f.with(testnet.Mark(markOutbound)), want: "inbound " + in.String()},
		})
	}
	// A pattern the other way round.
	r.Inbound.ExcludeInterfaces, r.Outbound.ExcludeInterfaces = []string{"eth*"}, []string{"eth0"}
	u.install(t, s.host, r)
	for _, f := range families {
		try(t, []flow{
			{name: f.name + "/in by eth0", from: s.client, to: f.at(s.host, 8080), want: "workload"},
			{name: f.name + "/out by eth0", from: s.host, to: f.at(s.client, 80), want: "client"},
		})
	}
}
