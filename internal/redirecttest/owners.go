//go:build linux

package redirecttest

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// A way is how rules and the kernel tell a process.
type way struct {
	name   string
	owners redirect.Owners
	// call is made by a process that is meant.
	call func(h *testnet.Host, network string, to netip.AddrPort) string
}

// ways are all of them.
func (u suite) ways(t *testing.T) []way {
	t.Helper()
	const uid, gid = 4711, 4712
	by := func(o testnet.Option) func(*testnet.Host, string, netip.AddrPort) string {
		return func(h *testnet.Host, network string, to netip.AddrPort) string {
			return flow{from: h, udp: network == "udp", to: to, opts: []testnet.Option{o}}.answer()
		}
	}
	unit := newCgroups(t, "api.service", "api.service/worker")
	in := func(c *cgroupFolder) func(*testnet.Host, string, netip.AddrPort) string {
		return func(h *testnet.Host, network string, to netip.AddrPort) string { return u.callIn(t, c, h, network, to) }
	}
	return []way{
		{"user", redirect.Owners{UIDs: []uint32{4000, uid}}, by(testnet.UID(uid))},
		{"group", redirect.Owners{GIDs: []uint32{4000, gid}}, by(testnet.GID(gid))},
		{"any of them", redirect.Owners{UIDs: []uint32{4000}, GIDs: []uint32{gid}, Cgroups: []string{unit[0].path}}, by(testnet.GID(gid))},
		{"cgroup", redirect.Owners{Cgroups: []string{unit[0].path, "system.slice/weft-is-not-there.service"}}, in(unit[0])},
		{"cgroup beneath", redirect.Owners{UIDs: []uint32{4000}, Cgroups: []string{unit[0].path}}, in(unit[1])},
	}
}

// What is told by owner is told of these processes, however they are told, and
// of no others: queries and connections alike.
func (u suite) owners(t *testing.T) {
	for _, w := range u.ways(t) {
		t.Run(w.name, func(t *testing.T) {
			s := newScene(t)
			s.play(t)
			s.playDNS(t)
			s.host.Pipe(t, strictly, "nft", "-f", "-") // answers must belong to their queries
			other := func(h *testnet.Host, network string, to netip.AddrPort) string {
				return flow{from: h, udp: network == "udp", to: to}.answer()
			}
			type want struct{ network, member, other string }
			for _, c := range []struct {
				name  string
				set   func(r *redirect.Rules)
				wants func(f family) map[netip.AddrPort]want
			}{
				{"excluded", func(r *redirect.Rules) { r.Outbound.Exclude, r.DNS.Exclude = w.owners, w.owners }, func(f family) map[netip.AddrPort]want {
					out, vip := f.at(s.client, 80), netip.AddrPortFrom(f.vip, 80)
					return map[netip.AddrPort]want{
						out:                {"tcp", "client", "outbound " + out.String()},
						vip:                {"tcp", "outbound " + vip.String(), "outbound " + vip.String()},
						f.at(s.client, 53): {"udp", "server q", "agent q"},
						f.at(s.peer, 53):   {"tcp", "peer", "agent"},
					}
				}},
				{"excluded from DNS", func(r *redirect.Rules) { r.DNS.Exclude = w.owners }, func(f family) map[netip.AddrPort]want {
					out := f.at(s.client, 80)
					return map[netip.AddrPort]want{
						out:                {"tcp", "outbound " + out.String(), "outbound " + out.String()},
						f.at(s.client, 53): {"udp", "server q", "agent q"},
						f.at(s.peer, 53):   {"tcp", "peer", "agent"},
					}
				}},
				{"only", func(r *redirect.Rules) { r.Outbound.Only = w.owners }, func(f family) map[netip.AddrPort]want {
					out, vip := f.at(s.client, 80), netip.AddrPortFrom(f.vip, 80)
					return map[netip.AddrPort]want{
						out:                {"tcp", "outbound " + out.String(), "client"},
						vip:                {"tcp", "outbound " + vip.String(), ""},
						f.at(s.client, 53): {"udp", "agent q", "server q"},
						f.at(s.peer, 53):   {"tcp", "agent", "peer"},
					}
				}},
			} {
				r := everything()
				c.set(&r)
				if u.refuses(t, s.host, r) {
					continue
				}
				u.agrees(t, s.host, r)
				for _, f := range families {
					for to, w2 := range c.wants(f) {
						if got := w.call(s.host, w2.network, to); got != w2.member {
							t.Errorf("%s, %s: who is meant was answered by %q at %s, want %q", c.name, f.name, got, to, w2.member)
						}
						if w2.other == "" {
							continue
						}
						if got := other(s.host, w2.network, to); got != w2.other {
							t.Errorf("%s, %s: another was answered by %q at %s, want %q", c.name, f.name, got, to, w2.other)
						}
					}
				}
			}
		})
	}
}

// A unit that is started again is in a folder of the same name and another id.
// Who keeps rules puts it in, and takes one that is gone for no difference.
func (u suite) cgroupMadeAnew(t *testing.T) {
	s := newScene(t)
	s.play(t)
	unit := newCgroups(t, "api.service")[0]
	r := everything()
	r.Outbound.Only.Cgroups = []string{unit.path}
	if u.refuses(t, s.host, r) {
		return
	}
	k := &redirect.Keeper{Engine: u.New(), Rules: r, Log: slog.New(slog.DiscardHandler)}
	_, watches := k.Engine.(redirect.Watcher)
	mend := func(t *testing.T) {
		t.Helper()
		if !watches {
			u.install(t, s.host, r)
		}
		began := time.Now()
		until(t, 4*mendTime, func() string { return u.differs(t, s.host, r) })
		t.Logf("mended after %s", time.Since(began))
	}
	if watches {
		keep(t, s.host, k)
	}
	unit.remove(t)
	mend(t)
	unit.make(t)
	mend(t)
	for _, f := range families {
		out := f.at(s.client, 80)
		if got, want := u.callIn(t, unit, s.host, "tcp", out), "outbound "+out.String(); got != want {
			t.Errorf("from a unit started again %s was answered by %q, want %q", out, got, want)
		}
	}
	if !u.CgroupsByRule {
		u.followed(t, s, unit)
	}
	u.startedAfter(t, s, unit, r)
}

// startedAfter has a unit apply the rules before its first process starts, from
// its own new folder, as ExecStartPre= does: all that it calls is redirected.
func (u suite) startedAfter(t *testing.T, s scene, unit *cgroupFolder, r redirect.Rules) {
	t.Helper()
	const rounds = 5
	out := families[0].at(s.client, 80)
	for range rounds {
		unit.remove(t)
		unit.make(t)
		cmd := u.child(t.Context(), t, s.host, "start", textOf(t, r), "tcp", out.String())
		unit.admit(cmd)
		if got, want := output(t, s.host, cmd), "outbound "+out.String(); got != want {
			t.Errorf("from a unit that applied the rules first %s was answered by %q, want %q", out, got, want)
		}
	}
}

// followed tells how often a process that starts at once in a folder made anew
// is redirected all the same. The kernel tells of a folder when it is there, so
// that it is a race; but one that is won. Nobody who calls a service waits for
// ever: who was too early is redirected when he asks again, or told.
func (u suite) followed(t *testing.T, s scene, unit *cgroupFolder) {
	t.Helper()
	const rounds = 10
	direct, late, out, service := 0, 0, families[0].at(s.client, 80), netip.AddrPortFrom(vip4, 80)
	for range rounds {
		unit.remove(t)
		unit.make(t)
		if got := u.callIn(t, unit, s.host, "tcp", out); got != "outbound "+out.String() {
			direct++
		}
		unit.remove(t)
		unit.make(t)
		began := time.Now()
		got := u.callIn(t, unit, s.host, "tcp", service)
		if got != "outbound "+service.String() && (!u.AfterNAT || !strings.Contains(got, "connection abort")) {
			t.Errorf("a process that began with its folder and called a service was answered by %q", got)
		}
		if time.Since(began) > time.Second {
			late++
		}
	}
	t.Logf("of %d processes that began with their folder %d went directly; of as many that called a service %d were answered after a second", rounds, direct, late)
	if direct == rounds {
		t.Error("nobody was sooner than the process")
	}
}

// keep keeps rules on a host while the test runs, and returns when the keeper
// has looked at what its own writes signed.
func keep(t *testing.T, h *testnet.Host, k *redirect.Keeper) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Do(func() error { return k.Run(ctx) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	const rest = 100 * time.Millisecond
	_, watches := k.Engine.(redirect.Watcher)
	until(t, testnet.Patience, func() string {
		kept := k.Kept()
		if watches && !kept.Notified || kept.Looked.IsZero() || time.Since(kept.Looked) < rest {
			return "not at rest"
		}
		return ""
	})
}

// Two workloads of one host each have a proxy, told by who their processes are.
func (u suite) twoWorkloads(t *testing.T) {
	units := newCgroups(t, "a.service", "b.service")
	for _, w := range []struct {
		name string
		a, b redirect.Owners
		call [2]func(h *testnet.Host, network string, to netip.AddrPort) string
	}{
		{"users", redirect.Owners{UIDs: []uint32{5001}}, redirect.Owners{UIDs: []uint32{5002}},
			[2]func(*testnet.Host, string, netip.AddrPort) string{
				func(h *testnet.Host, n string, to netip.AddrPort) string {
					return flow{from: h, udp: n == "udp", to: to, opts: []testnet.Option{testnet.UID(5001)}}.answer()
				},
				func(h *testnet.Host, n string, to netip.AddrPort) string {
					return flow{from: h, udp: n == "udp", to: to, opts: []testnet.Option{testnet.UID(5002)}}.answer()
				}}},
		{"units", redirect.Owners{Cgroups: []string{units[0].path}}, redirect.Owners{Cgroups: []string{units[1].path}},
			[2]func(*testnet.Host, string, netip.AddrPort) string{
				func(h *testnet.Host, n string, to netip.AddrPort) string { return u.callIn(t, units[0], h, n, to) },
				func(h *testnet.Host, n string, to netip.AddrPort) string { return u.callIn(t, units[1], h, n, to) }}},
	} {
		t.Run(w.name, func(t *testing.T) {
			s := newScene(t)
			a, b := everything(), everything()
			a.Table, a.Outbound.Only = "weft-a", w.a
			b.Table, b.Outbound.Only = "weft-b", w.b
			a.Inbound.Ports = []redirect.PortRange{{First: 8080, Last: 8080}}
			b.Inbound.Ports = []redirect.PortRange{{First: 9090, Last: 9090}}
			b.Inbound.To, b.Outbound.To, b.DNS.To = 16006, 16001, 16053
			if u.refuses(t, s.host, a) {
				return
			}
			u.install(t, s.host, b)
			s.proxyAt(t, "a's ", a.Inbound.To, a.Outbound.To)
			s.proxyAt(t, "b's ", b.Inbound.To, b.Outbound.To)
			for _, f := range families {
				says(s.host.Listen(t, f.all+":8080"), "workload a")
				says(s.host.Listen(t, f.all+":9090"), "workload b")
				says(s.client.Listen(t, f.all+":80"), "client")
				answers(s.client.ListenUDP(t, f.all+":53"), "server")
				answers(s.host.ListenUDP(t, netip.AddrPortFrom(f.loopback, a.DNS.To).String()), "a's agent")
				answers(s.host.ListenUDP(t, netip.AddrPortFrom(f.loopback, b.DNS.To).String()), "b's agent")
			}
			for _, f := range families {
				out, vip, dns := f.at(s.client, 80), netip.AddrPortFrom(f.vip, 80), f.at(s.client, 53)
				for i, name := range []string{"a's ", "b's "} {
					for _, c := range []struct {
						network string
						to      netip.AddrPort
						want    string
					}{
						{"tcp", out, name + "outbound " + out.String()},
						{"tcp", vip, name + "outbound " + vip.String()},
						{"udp", dns, name + "agent q"},
					} {
						if got := w.call[i](s.host, c.network, c.to); got != c.want {
							t.Errorf("workload %s%s was answered by %q, want %q", name, c.to, got, c.want)
						}
					}
				}
				inA, inB := f.at(s.host, 8080), f.at(s.host, 9090)
				proxy := []testnet.Option{testnet.Mark(markOutbound)}
				try(t, []flow{
					{name: f.name + "/into a", from: s.client, to: inA, want: "a's inbound " + inA.String()},
					{name: f.name + "/into b", from: s.client, to: inB, want: "b's inbound " + inB.String()},
					{name: f.name + "/a's proxy into b", from: s.host, to: inB, opts: proxy, want: "b's inbound " + inB.String()},
					{name: f.name + "/a third, not enrolled", from: s.host, to: out, want: "client"},
					{name: f.name + "/a third's query", from: s.host, udp: true, to: dns, want: "server q"},
					{name: f.name + "/a proxy to elsewhere", from: s.host, to: out, opts: proxy, want: "client"},
				})
			}
			if err := s.host.Do(func() error { return u.New().Remove(t.Context(), a.Table) }); err != nil {
				t.Fatal(err)
			}
			for _, f := range families {
				out := f.at(s.client, 80)
				if got := w.call[0](s.host, "tcp", out); got != "client" {
					t.Errorf("a, removed, was answered by %q", got)
				}
				if got, want := w.call[1](s.host, "tcp", out), "b's outbound "+out.String(); got != want {
					t.Errorf("b, beside a that was removed, was answered by %q, want %q", got, want)
				}
			}
			u.agrees(t, s.host, b)
		})
	}
}

// A proxy that may set no marks is told by what it is, and its calls go
// straight.
func (u suite) proxyToldByOwner(t *testing.T) {
	for _, w := range u.ways(t) {
		t.Run(w.name, func(t *testing.T) {
			s := newScene(t)
			s.play(t)
			s.playDNS(t)
			s.host.Pipe(t, strictly, "nft", "-f", "-")
			r := everything()
			r.Proxy = w.owners
			if u.refuses(t, s.host, r) {
				return
			}
			u.agrees(t, s.host, r)
			for _, f := range families {
				for _, c := range []struct {
					network string
					to      netip.AddrPort
					want    string
				}{
					{"tcp", f.at(s.client, 80), "client"},
					{"tcp", f.at(s.host, 8080), "workload"},
					{"tcp", netip.AddrPortFrom(f.loopback, 8080), "workload"},
					{"udp", f.at(s.client, 53), "server q"},
					{"tcp", f.at(s.client, 53), "server"},
				} {
					if got := w.call(s.host, c.network, c.to); got != c.want {
						t.Errorf("%s: the proxy was answered by %q at %s, want %q", f.name, got, c.to, c.want)
					}
				}
				out := f.at(s.client, 80)
				flow{name: f.name + ": another", from: s.host, to: out, want: "outbound " + out.String()}.try(t)
			}
		})
	}
}
