//go:build linux

package redirecttest

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// A dockerScene has two containers behind a bridge of the host, which
// masquerades what they call and publishes port 80 of the first as its own 8081.
type dockerScene struct {
	scene
	container, second *testnet.Host
}

// Addresses in the bridge's network.
var (
	bridge4, container4, second4 = netip.MustParseAddr("172.17.0.1"), netip.MustParseAddr("172.17.0.2"), netip.MustParseAddr("172.17.0.3")
	bridge6, container6, second6 = netip.MustParseAddr("fd00:17::1"), netip.MustParseAddr("fd00:17::2"), netip.MustParseAddr("fd00:17::3")
)

// dockers make what Docker makes, by each kind of netfilter.
var dockers = map[string]func(t *testing.T, h *testnet.Host){
	"nft": func(t *testing.T, h *testnet.Host) {
		for _, f := range []struct{ family, subnet, to, loopback string }{
			{"ip", "172.17.0.0/16", "172.17.0.2:80", "127.0.0.0/8"}, {"ip6", "fd00:17::/64", "[fd00:17::2]:80", "::1"}} {
			h.Pipe(t, strings.NewReplacer("FAMILY", f.family, "SUBNET", f.subnet, "TO", f.to, "LOOPBACK", f.loopback).Replace(`
table FAMILY docker {
	chain DOCKER { iifname "docker0" return; tcp dport 8081 dnat to TO; }
	chain prerouting { type nat hook prerouting priority dstnat; policy accept; fib daddr type local jump DOCKER; }
	chain output { type nat hook output priority -100; policy accept; FAMILY daddr != LOOPBACK fib daddr type local jump DOCKER; }
	chain postrouting { type nat hook postrouting priority srcnat; policy accept; oifname != "docker0" FAMILY saddr SUBNET masquerade; }
}
`), "nft", "-f", "-")
		}
	},
	"iptables-nft":    func(t *testing.T, h *testnet.Host) { restoreDocker(t, h, iptablesPrograms[:2]) },
	"iptables-legacy": func(t *testing.T, h *testnet.Host) { restoreDocker(t, h, iptablesPrograms[2:]) },
}

func restoreDocker(t *testing.T, h *testnet.Host, programs []iptablesProgram) {
	t.Helper()
	for i, p := range programs {
		subnet, to, loopback := "172.17.0.0/16", "172.17.0.2:80", "127.0.0.0/8"
		if i == 1 {
			subnet, to, loopback = "fd00:17::/64", "[fd00:17::2]:80", "::1/128"
		}
		h.Pipe(t, strings.NewReplacer("SUBNET", subnet, "TO", to, "LOOPBACK", loopback).Replace(`*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d LOOPBACK -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s SUBNET ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8081 -j DNAT --to-destination TO
COMMIT
`), p.name+"-restore", "--noflush")
	}
}

func newDockerScene(t *testing.T, docker func(t *testing.T, h *testnet.Host), look bool) dockerScene {
	t.Helper()
	d := dockerScene{scene: newScene(t)}
	d.play(t)
	d.playDNS(t)
	forward(t, d.host)
	// Docker has netfilter look at bridged packets, too.
	bit := map[bool]string{true: "1", false: "0"}[look]
	d.host.Run(t, "sh", "-ec", `ip link add docker0 type bridge; ip link set docker0 up
		ip addr add 172.17.0.1/16 dev docker0; ip addr add fd00:17::1/64 dev docker0 nodad
		for f in iptables ip6tables; do echo `+bit+` > /proc/sys/net/bridge/bridge-nf-call-$f; done`)
	add := func(port string, v4, v6 netip.Addr) *testnet.Host {
		c := testnet.Hosts(t, 1)[0]
		c.Run(t, "ip", "link", "del", "eth0")
		d.host.Run(t, "ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", c.Path())
		d.host.Run(t, "sh", "-ec", "ip link set "+port+" master docker0 up")
		c.Run(t, "sh", "-ec", "ip link set eth0 up; ip addr add "+v4.String()+"/16 dev eth0; ip addr add "+v6.String()+"/64 dev eth0 nodad"+
			"; ip route add default via "+bridge4.String()+"; ip -6 route add default via "+bridge6.String())
		for _, f := range families {
			says(c.Listen(t, f.all+":80"), "container "+v4.String())
		}
		return c
	}
	d.container, d.second = add("veth1", container4, container6), add("veth2", second4, second6)
	docker(t, d.host)
	return d
}

// forward makes a host a router.
func forward(t *testing.T, h *testnet.Host) {
	t.Helper()
	h.Run(t, "sh", "-ec", "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding; echo 0 > /proc/sys/net/ipv4/conf/all/send_redirects; echo 0 > /proc/sys/net/ipv4/conf/eth0/send_redirects")
}

// pick is the address in the family.
func pick(f family, v4, v6 netip.Addr) netip.Addr {
	if f.name == "IPv6" {
		return v6
	}
	return v4
}

// What a host forwards, as a router or for containers, is nobody's here, with
// every port enrolled as with some.
func (u suite) forwardedIsNotOurs(t *testing.T) {
	all := everything()
	all.Inbound.Ports, all.Inbound.All = nil, true
	for name, r := range map[string]redirect.Rules{"some ports": everything(), "every port": all} {
		t.Run("router, "+name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.play(t)
			forward(t, s.host)
			if u.refuses(t, s.host, r) {
				return
			}
			for _, f := range families {
				beyond := pick(f, netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8:99::1"))
				prefix := netip.PrefixFrom(beyond, beyond.BitLen()).String()
				s.peer.Run(t, "ip", "addr", "add", prefix, "dev", "lo", "nodad")
				s.host.Run(t, "ip", "route", "add", prefix, "via", f.of(s.peer).String())
				s.client.Run(t, "ip", "route", "add", prefix, "via", f.of(s.host).String())
				says(s.peer.Listen(t, netip.AddrPortFrom(beyond, 8080).String()), "beyond")
				says(s.peer.Listen(t, netip.AddrPortFrom(beyond, 53).String()), "beyond")
				answers(s.peer.ListenUDP(t, netip.AddrPortFrom(beyond, 53).String()), "beyond")
				try(t, []flow{
					{name: f.name + "/a connection", from: s.client, to: netip.AddrPortFrom(beyond, 8080), want: "beyond"},
					{name: f.name + "/a query over TCP", from: s.client, to: netip.AddrPortFrom(beyond, 53), want: "beyond"},
					{name: f.name + "/a query", from: s.client, udp: true, to: netip.AddrPortFrom(beyond, 53), want: "beyond q"},
				})
			}
		})
		t.Run("containers, "+name, func(t *testing.T) {
			t.Parallel()
			d := newDockerScene(t, dockers["iptables-nft"], true)
			if u.refuses(t, d.host, r) {
				return
			}
			for _, f := range families {
				inside := f.at(d.host, 8080)
				try(t, []flow{
					{name: f.name + "/to elsewhere", from: d.container, to: f.at(d.client, 80), want: "client"},
					{name: f.name + "/from an enrolled port", from: d.container, to: f.at(d.client, 80), want: "client",
						opts: f.with(testnet.From(netip.AddrPortFrom(pick(f, container4, container6), 9005)))},
					{name: f.name + "/a query", from: d.container, udp: true, to: f.at(d.client, 53), want: "server q"},
					{name: f.name + "/a query over TCP", from: d.container, to: f.at(d.client, 53), want: "server"},
					{name: f.name + "/to each other", from: d.container, to: netip.AddrPortFrom(pick(f, second4, second6), 80), want: "container " + second4.String()},
					{name: f.name + "/to an enrolled port of their host", from: d.container, to: inside, want: "inbound " + inside.String()},
				})
			}
		})
	}
}

// Of an interface that is named, what begins there and is forwarded goes to the
// proxy like the host's own calls, but for queries: to its transparent listener
// on all addresses.
func (u suite) forwardedInterfaces(t *testing.T) {
	for name, look := range map[string]bool{"bridges are not looked at": false, "bridges are looked at": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDockerScene(t, dockers["iptables-nft"], look)
			for _, f := range families {
				d.host.Listen(t, f.all+":17001", testnet.Transparent()).Serve(func(c *testnet.Conn) string {
					return "outer outbound " + destination(c).String()
				})
			}
			u.forwardedInterface(t, d)
		})
	}
}

func (u suite) forwardedInterface(t *testing.T, d dockerScene) {
	t.Helper()
	r := everything()
	r.Outbound.To = 17001
	r.Outbound.Forwarded = []string{"docker*"}
	r.Outbound.Only.UIDs = []uint32{4711} // does not apply to them
	r.Outbound.ExcludePorts = []redirect.PortRange{{First: 25, Last: 25}}
	r.Outbound.ExcludeDestinations = withExclusions().Outbound.ExcludeDestinations // the peer
	if u.refuses(t, d.host, r) {
		return
	}
	u.agrees(t, d.host, r)
	for _, f := range families {
		out, vip, inside := f.at(d.client, 80), netip.AddrPortFrom(f.vip, 80), f.at(d.host, 8080)
		try(t, []flow{
			{name: f.name + "/to elsewhere", from: d.container, to: out, want: "outer outbound " + out.String()},
			{name: f.name + "/to a service", from: d.container, to: vip, want: "outer outbound " + vip.String()},
			{name: f.name + "/to an excluded destination", from: d.container, to: f.at(d.peer, 80), want: "peer"},
			{name: f.name + "/to an excluded port", from: d.container, to: f.at(d.client, 25), want: "client"},
			{name: f.name + "/a query", from: d.container, udp: true, to: f.at(d.client, 53), want: "server q"},
			{name: f.name + "/a query over TCP", from: d.container, to: f.at(d.client, 53), want: "server"},
			{name: f.name + "/to each other", from: d.container, to: netip.AddrPortFrom(pick(f, second4, second6), 80), want: "container " + second4.String()},
			{name: f.name + "/to their host", from: d.container, to: inside, want: "inbound " + inside.String()},
			{name: f.name + "/the outbound listener directly", from: d.container, to: netip.AddrPortFrom(pick(f, bridge4, bridge6), 17001), want: refusal},
			{name: f.name + "/the host's own, not enrolled", from: d.host, to: out, want: "client"},
			{name: f.name + "/the host's own, enrolled", from: d.host, to: out, opts: f.with(testnet.UID(4711)), want: "outer outbound " + out.String()},
		})
	}
	r.Outbound.ExcludeInterfaces = []string{"eth0"}
	if u.refuses(t, d.host, r) {
		return
	}
	for _, f := range families {
		vip := netip.AddrPortFrom(f.vip, 80)
		try(t, []flow{
			{name: f.name + "/out by an excluded interface", from: d.container, to: f.at(d.client, 80), want: "client"},
			{name: f.name + "/a service all the same", from: d.container, to: vip, want: "outer outbound " + vip.String()},
		})
	}
}

// A port that Docker publishes is the container's, unless it is enrolled: then
// it is the proxy's, whose own calls reach the container.
func (u suite) publishedPorts(t *testing.T) {
	for name, docker := range dockers {
		for _, method := range []redirect.Method{redirect.Keep, redirect.Rewrite} {
			t.Run(name+"/"+string(method), func(t *testing.T) {
				t.Parallel()
				d := newDockerScene(t, docker, true)
				r := everything()
				r.Inbound.Method = method
				if u.refuses(t, d.host, r) {
					return
				}
				for _, f := range families {
					published := f.at(d.host, 8081)
					flow{name: f.name + ", not enrolled", from: d.client, to: published, want: "container " + container4.String()}.try(t)
				}
				r.Inbound.Ports = []redirect.PortRange{{First: 8080, Last: 8081}}
				u.install(t, d.host, r)
				for _, f := range families {
					published := f.at(d.host, 8081)
					proxied := "inbound " + published.String()
					if u.AfterNAT {
						proxied = "container " + container4.String()
					}
					try(t, []flow{
						{name: f.name + "/enrolled", from: d.client, to: published, want: proxied},
						{name: f.name + "/F2", from: d.host, to: published, opts: f.with(testnet.Mark(markOutbound)), want: proxied},
						{name: f.name + "/F3", from: d.host, to: published, want: "container " + container4.String()},
						{name: f.name + "/F4", from: d.host, to: published, opts: f.with(testnet.Mark(markInbound)), want: "container " + container4.String()},
					})
				}
			})
		}
	}
}
