//go:build linux

package explain_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/explain"
	"github.com/weft-mesh/weft/pkg/redirect/nftables"
)

// A scene is a host with proxy, agent and workloads between two others, all of
// which say who they are.
type scene struct {
	t                  *testing.T
	client, host, peer *testnet.Host
}

const (
	inboundPort  = 15006
	outboundPort = 15001
	agentDNS     = 15053
)

// The ports at which somebody listens.
var (
	remotePorts   = []uint16{25, 53, 80, 443, 8080}
	workloadPorts = []uint16{22, 80, 8080, 9000}
	udpPorts      = []uint16{53, 5000}
)

func newScene(t *testing.T) *scene {
	hosts := testnet.Hosts(t, 3)
	s := &scene{t: t, client: hosts[0], host: hosts[1], peer: hosts[2]}
	for h, name := range map[*testnet.Host]string{s.client: "client", s.peer: "peer"} {
		for _, all := range []string{"0.0.0.0", "[::]"} {
			for _, p := range remotePorts {
				says(h.Listen(t, fmt.Sprintf("%s:%d", all, p)), name)
			}
			for _, p := range udpPorts {
				answers(h.ListenUDP(t, fmt.Sprintf("%s:%d", all, p)), name)
			}
		}
	}
	for _, all := range []string{"0.0.0.0", "[::]"} {
		for _, p := range workloadPorts {
			says(s.host.Listen(t, fmt.Sprintf("%s:%d", all, p)), "workload")
		}
		s.host.Listen(t, fmt.Sprintf("%s:%d", all, inboundPort), testnet.Transparent()).Serve(func(c *testnet.Conn) string {
			to := c.Local()
			if dst, err := c.OriginalDestination(); err == nil && to.Port() == inboundPort {
				to = dst // it was rewritten
			}
			return fmt.Sprint(explain.Inbound, " ", to)
		})
	}
	for _, lo := range []string{"127.0.0.1", "[::1]"} {
		s.host.Listen(t, fmt.Sprintf("%s:%d", lo, outboundPort)).Serve(func(c *testnet.Conn) string {
			dst, err := c.OriginalDestination()
			if err != nil || dst == c.Local() {
				return called
			}
			return fmt.Sprint(explain.Outbound, " ", dst)
		})
		says(s.host.Listen(t, fmt.Sprintf("%s:%d", lo, agentDNS)), string(explain.Agent))
		answers(s.host.ListenUDP(t, fmt.Sprintf("%s:%d", lo, agentDNS)), string(explain.Agent))
	}
	return s
}

func says(l *testnet.Listener, word string) { l.Serve(func(*testnet.Conn) string { return word }) }

func answers(c *net.UDPConn, name string) {
	go func() {
		b := make([]byte, 512)
		for {
			_, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = c.WriteToUDPAddrPort([]byte(name), from)
		}
	}()
}

func services(a netip.Addr) bool { return a == vip4 || a == vip6 }

var (
	vip4 = netip.MustParseAddr("240.1.2.3")
	vip6 = netip.MustParseAddr("fd57:6566:7400::5")
)

const (
	refusal = "refused"
	silence = "silence"
	called  = "the outbound listener, called directly"
)

// want is the answer that the decision leads to.
func (s *scene) want(f explain.Flow, d explain.Decision) string {
	to := f.To
	switch d.Verdict {
	case explain.Refused:
		return refusal
	case explain.Agent:
		return string(explain.Agent)
	case explain.Outbound:
		return fmt.Sprint(explain.Outbound, " ", to)
	case explain.Inbound:
		return fmt.Sprint(explain.Inbound, " ", to)
	}
	var name string
	ports := remotePorts
	switch a := to.Addr(); {
	case s.facts().Local(a):
		name, ports = "workload", workloadPorts
		if f.UDP {
			ports = nil
		}
		loopback := a == netip.IPv6Loopback() || a == netip.AddrFrom4([4]byte{127, 0, 0, 1})
		switch {
		case to.Port() == agentDNS && loopback:
			return string(explain.Agent)
		case to.Port() == outboundPort && loopback && !f.UDP:
			return called
		case to.Port() == inboundPort && !f.UDP:
			return fmt.Sprint(explain.Inbound, " ", to)
		}
	case a == s.client.IP4 || a == s.client.IP6:
		name = "client"
	case a == s.peer.IP4 || a == s.peer.IP6:
		name = "peer"
	default:
		return silence
	}
	if f.UDP && name != "workload" {
		ports = udpPorts
	}
	if !slices.Contains(ports, to.Port()) {
		return refusal
	}
	return name
}

func (s *scene) facts() explain.Host {
	return explain.Host{Addresses: []netip.Addr{s.host.IP4, s.host.IP6}}
}

// happens is the answer that a flow really gets.
func (s *scene) happens(f explain.Flow, patience time.Duration) string {
	from, network := s.host, "tcp"
	if f.In != "" {
		from = s.client
	}
	if f.UDP {
		network = "udp"
	}
	opts := []testnet.Option{testnet.Mark(f.Mark), testnet.UID(f.Owner.UID), testnet.GID(f.Owner.GID)}
	type outcome struct {
		conn *testnet.Conn
		err  error
	}
	came := make(chan outcome, 1)
	go func() {
		c, err := from.TryDial(network, f.To.String(), opts...)
		came <- outcome{c, err}
	}()
	var o outcome
	select {
	case o = <-came:
	case <-time.After(patience):
		return silence
	}
	if o.err != nil {
		return failure(o.err)
	}
	defer o.conn.Close()
	_ = o.conn.SetDeadline(time.Now().Add(patience))
	if f.UDP {
		if _, err := o.conn.Write([]byte("q")); err != nil {
			return failure(err)
		}
		b := make([]byte, 512)
		n, err := o.conn.Read(b)
		if err != nil {
			return failure(err)
		}
		return string(b[:n])
	}
	b, err := io.ReadAll(o.conn)
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
	case errors.As(err, &late) && late.Timeout(), errors.Is(err, unix.ENETUNREACH):
		return silence
	}
	return err.Error()
}

// TestKernelDecidesAlike has random connections meet random rules, in the
// kernel and on paper.
func TestKernelDecidesAlike(t *testing.T) {
	s := newScene(t)
	engine := nftables.New()
	rapid.Check(t, func(rt *rapid.T) {
		r := s.rules(rt)
		if err := s.host.Do(func() error { return engine.Apply(t.Context(), r) }); err != nil {
			rt.Fatalf("apply %+v: %v", r, err)
		}
		for range 8 {
			f := s.flow(rt)
			decisions := explain.Explain(r, f, s.facts())
			want := s.want(f, explain.Final(decisions))
			if a := f.To.Addr(); services(a) && !slices.ContainsFunc(r.VIPs, func(p netip.Prefix) bool { return p.Contains(a) }) {
				want = silence // there is no route
			}
			patience := testnet.Patience
			if want == silence {
				patience = 200 * time.Millisecond // whoever would answer is near
			}
			if got := s.happens(f, patience); got != want {
				rt.Fatalf("%s (%+v) was answered by %q, want %q, as %+v\nby %+v", f, f, got, want, decisions, r)
			}
		}
	})
}

var marks = redirect.Marks{Mask: 0x3000, Outbound: 0x1000, Inbound: 0x2000, Agent: 0x3000}

func (s *scene) rules(t *rapid.T) redirect.Rules {
	r := redirect.Rules{Marks: marks}
	ports := rapid.SliceOfNDistinct(rapid.SampledFrom([]redirect.PortRange{{First: 25, Last: 25}, {First: 53, Last: 53}, {First: 80, Last: 80}, {First: 400, Last: 500}, {First: 8080, Last: 9000}}),
		0, 3, rapid.ID)
	prefixes := rapid.SliceOfNDistinct(rapid.SampledFrom([]netip.Prefix{
		netip.PrefixFrom(s.client.IP4, 32), netip.PrefixFrom(s.peer.IP6, 128), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:57::8/126"),
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"),
	}), 0, 3, rapid.ID)
	ids := rapid.SliceOfNDistinct(rapid.SampledFrom([]uint32{0, 1000, 4242}), 0, 2, rapid.ID)
	owners := rapid.Custom(func(t *rapid.T) redirect.Owners {
		return redirect.Owners{UIDs: ids.Draw(t, "uids"), GIDs: ids.Draw(t, "gids")}
	})
	devices := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"eth0", "eth1", "et*", "docker0"}), 0, 2, rapid.ID)
	often := rapid.IntRange(0, 3)
	set := rapid.Bool()
	r.Proxy = owners.Draw(t, "proxy")
	if set.Draw(t, "inbound") {
		r.Inbound.To = inboundPort
		if often.Draw(t, "rewrite") == 0 {
			r.Inbound.Method = redirect.Rewrite
		}
		if often.Draw(t, "all") == 0 {
			r.Inbound.All, r.Inbound.ExcludePorts = true, ports.Draw(t, "inbound.excludePorts")
		} else {
			r.Inbound.Ports = ports.Draw(t, "inbound.ports")
		}
		r.Inbound.ExcludeSources = prefixes.Draw(t, "inbound.excludeSources")
		if often.Draw(t, "inbound devices") == 0 {
			r.Inbound.ExcludeInterfaces = devices.Draw(t, "inbound.excludeInterfaces")
		}
	}
	if often.Draw(t, "only") == 0 {
		r.Outbound.Only = owners.Draw(t, "outbound.only")
	}
	if set.Draw(t, "outbound") {
		r.Outbound.To = outboundPort
		r.Outbound.ExcludePorts = ports.Draw(t, "outbound.excludePorts")
		r.Outbound.ExcludeDestinations = prefixes.Draw(t, "outbound.excludeDestinations")
		r.Outbound.Exclude = owners.Draw(t, "outbound.exclude")
		if often.Draw(t, "outbound devices") == 0 {
			r.Outbound.ExcludeInterfaces = devices.Draw(t, "outbound.excludeInterfaces")
		}
		r.VIPs = rapid.SliceOfNDistinct(rapid.SampledFrom([]netip.Prefix{netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("fd57:6566:7400::/64")}), 0, 2, rapid.ID).Draw(t, "vips")
	}
	if set.Draw(t, "dns") {
		r.DNS.To = agentDNS
		r.DNS.Exclude = owners.Draw(t, "dns.exclude")
	}
	if r.Validate() != nil {
		t.Skip("these rules cannot be meant")
	}
	return r
}

func (s *scene) flow(t *rapid.T) explain.Flow {
	port := rapid.SampledFrom([]uint16{22, 25, 53, 80, 443, 5000, 8080, 9000, inboundPort, outboundPort, agentDNS})
	if rapid.IntRange(0, 3).Draw(t, "inbound") == 0 {
		to := rapid.SampledFrom([]netip.Addr{s.host.IP4, s.host.IP6}).Draw(t, "to")
		from := s.client.IP4
		if to.Is6() {
			from = s.client.IP6
		}
		return explain.Flow{In: "eth0", From: netip.AddrPortFrom(from, 0), To: netip.AddrPortFrom(to, port.Draw(t, "port"))}
	}
	to := rapid.SampledFrom([]netip.Addr{
		s.host.IP4, s.host.IP6, s.client.IP4, s.client.IP6, s.peer.IP4, s.peer.IP6,
		netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.53"), netip.IPv6Loopback(), vip4, vip6,
	}).Draw(t, "to")
	f := explain.Flow{
		UDP:   rapid.IntRange(0, 3).Draw(t, "udp") == 0,
		To:    netip.AddrPortFrom(to, port.Draw(t, "port")),
		Mark:  rapid.SampledFrom([]uint32{0, 0, 0, marks.Outbound, marks.Inbound, marks.Agent, 0x4000, 0x4000 | marks.Outbound}).Draw(t, "mark"),
		Owner: explain.Owner{UID: rapid.SampledFrom([]uint32{0, 1000, 4242}).Draw(t, "uid"), GID: rapid.SampledFrom([]uint32{0, 1000, 4242}).Draw(t, "gid")},
	}
	if f.UDP { // where somebody answers: refusals are rationed by the kernel
		f.To = netip.AddrPortFrom(to, rapid.SampledFrom(udpPorts).Draw(t, "port"))
	}
	if services(to) && (f.To.Port() == inboundPort || f.To.Port() == outboundPort) {
		f.To = netip.AddrPortFrom(to, 80) // what gets past the rules to a service is lost, and there refused
	}
	f.From = netip.AddrPortFrom(s.source(to), 0)
	if f.Out = "eth0"; services(to) || s.facts().Local(to) {
		f.Out = "lo"
	}
	return f
}

// source is the address from which the host calls another.
func (s *scene) source(to netip.Addr) netip.Addr {
	switch {
	case to.IsLoopback() || to == s.host.IP4 || to == s.host.IP6:
		return to
	case to.Is4():
		return s.host.IP4
	}
	return s.host.IP6
}
