//go:build linux

package probe

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/explain"
)

// A probing is one connection or query that is sent.
type probing struct {
	name  string
	flow  explain.Flow
	as    identity // who sends it
	query bool     // a DNS query, over UDP or TCP
	// own has this process listen where it goes, if it goes straight.
	own bool
	// outside is sent from beside the host.
	outside bool
	// again is sent by the agent from the same port, once this is answered.
	again bool
	skip  string // why it is not sent
}

// An identity is who makes a socket. Its zero value is this process.
type identity struct {
	uid, gid uint32
	cgroup   string
	set      bool
}

// A family is what this host has of IPv4 or IPv6.
type family struct {
	name     string
	has      func(netip.Addr) bool
	loopback netip.Addr
	own      netip.Addr // of a device; invalid: none
	other    netip.Addr // of nobody, with a route; invalid: none
	otherBy  string     // the interface of that route
	server   netip.Addr // of this host, where port 53 is free; invalid: none
	// by are addresses that are reached by interfaces.
	by map[string]netip.Addr
}

// maxOfList bounds how many entries of one list are played. A list of
// thousands is one set in the kernel, of which one entry is like another.
const maxOfList = 8

// A table makes the probes for one family.
type table struct {
	redirect.Rules
	family
	app  identity // whose calls are redirected
	self explain.Owner
	busy map[uint16]bool // ports of this host at which somebody listens
	out  []probing
}

func (t *table) add(name string, flow explain.Flow, change ...func(*probing)) {
	p := probing{name: t.name + " " + name, flow: flow}
	for _, c := range change {
		c(&p)
	}
	p.flow.Owner = t.owner(p.as)
	if p.flow.To.Addr() == t.other {
		p.flow.Out = t.otherBy
	}
	t.out = append(t.out, p)
}

// What a probe is besides its flow.
func as(i identity) func(*probing)      { return func(p *probing) { p.as = i } }
func skipped(why string) func(*probing) { return func(p *probing) { p.skip = why } }
func own(p *probing)                    { p.own = true }
func query(p *probing)                  { p.query = true }
func again(p *probing)                  { p.again = true }
func outside(p *probing)                { p.outside = true }

func (t *table) build() []probing {
	if t.Outbound.To != 0 {
		t.calls()
		t.exclusions()
	}
	t.straight()
	if t.DNS.To != 0 {
		t.queries()
	}
	if t.Inbound.To != 0 {
		t.inbound()
	}
	return t.out
}

// port is one that nobody calls: random, high and not excluded.
func (t *table) port() uint16 {
	for {
		p := uint16(20000 + rand.IntN(40000))
		if !excluded(t.Outbound.ExcludePorts, p) && p != t.Outbound.To && p != t.Inbound.To && p != t.DNS.To {
			return p
		}
	}
}

func excluded(ports []redirect.PortRange, p uint16) bool {
	return slices.ContainsFunc(ports, func(r redirect.PortRange) bool { return r.First <= p && p <= r.Last })
}

func (t *table) elsewhere() netip.AddrPort { return netip.AddrPortFrom(t.other, t.port()) }

// away notes where the host cannot call others.
func (t *table) away() func(*probing) {
	if t.other.IsValid() {
		return func(*probing) {}
	}
	return skipped("this host has no way to others in " + t.name)
}

func (t *table) vip() (netip.AddrPort, bool) {
	i := slices.IndexFunc(t.VIPs, func(p netip.Prefix) bool { return t.has(p.Addr()) })
	if i < 0 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(within(t.VIPs[i]), 80), true
}

// within is a random address of a prefix, neither its first nor its last where
// it has more than two.
func within(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for {
		for bit := p.Bits(); bit < len(b)*8; bit++ {
			b[bit/8] &^= 0x80 >> (bit % 8)
			if rand.IntN(2) == 1 {
				b[bit/8] |= 0x80 >> (bit % 8)
			}
		}
		a, _ := netip.AddrFromSlice(b)
		if len(b)*8-p.Bits() < 2 || a != p.Masked().Addr() && p.Contains(a.Next()) {
			return a
		}
	}
}

func (t *table) calls() {
	app := as(t.app)
	t.add("F1: a call to another host", explain.Flow{To: t.elsewhere()}, app, t.away())
	foreign := ^t.Marks.Mask & 0x4000_4000
	t.add("F1: a call with somebody else's mark", explain.Flow{To: t.elsewhere(), Mark: foreign}, app, t.away(), func(p *probing) {
		if t.app.set {
			p.skip = "marks take rights that the calls of others' do not have"
		}
	})
	if vip, ok := t.vip(); ok {
		t.add("F1: a call to a service", explain.Flow{To: vip}, app)
	}
	if only := t.Outbound.Only; !only.IsZero() {
		for _, i := range []identity{{}, {uid: t.neutral(), gid: t.neutral(), set: true}} {
			if explain.Among(only, t.owner(i)) == "" {
				t.add("out of scope: a call to another host", explain.Flow{To: t.elsewhere()}, as(i), t.away())
				break
			}
		}
	}
}

// owner is an identity as explain sees it.
func (t *table) owner(i identity) explain.Owner {
	if !i.set {
		return t.self
	}
	o := explain.Owner{UID: i.uid, GID: i.gid, Cgroup: i.cgroup}
	if i.cgroup == "" {
		o.Cgroup = t.self.Cgroup
	}
	return o
}

// ordinary finds somebody whose calls are redirected, queries included. Who
// looks is taken if he is one.
func (t *table) ordinary() (identity, bool) {
	only := t.Outbound.Only
	some := []identity{{}, {uid: t.neutral(), gid: t.neutral(), set: true}}
	for _, uid := range only.UIDs {
		some = append(some, identity{uid: uid, gid: t.neutral(), set: true})
	}
	for _, gid := range only.GIDs {
		some = append(some, identity{uid: t.neutral(), gid: gid, set: true})
	}
	for _, path := range only.Cgroups {
		some = append(some, identity{uid: t.neutral(), gid: t.neutral(), cgroup: path, set: true})
	}
	for _, i := range some {
		who := t.owner(i)
		in := only.IsZero() || explain.Among(only, who) != ""
		if in && explain.Among(t.Proxy, who) == "" && explain.Among(t.Outbound.Exclude, who) == "" && explain.Among(t.DNS.Exclude, who) == "" {
			return i, true
		}
	}
	return identity{}, false
}

// nobody is the user and group of that name nearly everywhere.
const nobody = 65534

// straight is what must not be redirected.
func (t *table) straight() {
	app := as(t.app)
	t.add("F3: a call to loopback", explain.Flow{To: netip.AddrPortFrom(t.loopback, 0)}, app, own)
	if t.own.IsValid() {
		t.add("F3: a call to this host's own address", explain.Flow{To: netip.AddrPortFrom(t.own, 0)}, app, own)
	}
	if t.Marks.Mask == 0 {
		return
	}
	for _, who := range []struct {
		name string
		mark uint32
	}{{"the proxy to a peer", t.Marks.Outbound}, {"the proxy to a workload", t.Marks.Inbound}, {"the agent", t.Marks.Agent}} {
		t.add("F5: "+who.name, explain.Flow{To: t.elsewhere(), Mark: who.mark}, t.away())
		t.add("F4: "+who.name+", to loopback", explain.Flow{To: netip.AddrPortFrom(t.loopback, 0), Mark: who.mark}, own)
	}
	others := ^t.Marks.Mask & 0x4000_4000
	t.add("F5: the proxy, with somebody else's mark besides", explain.Flow{To: t.elsewhere(), Mark: t.Marks.Outbound | others}, t.away())
	t.owners("F5: the proxy", t.Proxy, func() explain.Flow { return explain.Flow{To: t.elsewhere()} }, t.away())
}

// exclusions has one call an entry.
func (t *table) exclusions() {
	out := t.Outbound
	app := as(t.app)
	for _, p := range firstOf(t, "excluded port", out.ExcludePorts) {
		for _, port := range slices.Compact([]uint16{p.First, p.Last}) {
			t.add(fmt.Sprintf("excluded port %d", port), explain.Flow{To: netip.AddrPortFrom(t.other, port)}, app, t.away(), func(q *probing) {
				if port == 53 && t.DNS.To != 0 {
					q.query = true // a query still
				}
			})
		}
	}
	ours := slices.DeleteFunc(slices.Clone(out.ExcludeDestinations), func(p netip.Prefix) bool { return !t.has(p.Addr()) })
	for _, p := range firstOf(t, "excluded destination", ours) {
		to := within(p)
		t.add("excluded destination "+p.String(), explain.Flow{To: netip.AddrPortFrom(to, t.port())}, app, func(q *probing) {
			switch {
			case p.Overlaps(loopback4) || to.IsLoopback():
				q.skip = "it is loopback, which is never redirected"
			case slices.ContainsFunc(t.VIPs, func(v netip.Prefix) bool { return v.Contains(to) }):
				q.skip = "the address tried is a service's"
			}
		})
	}
	for _, name := range firstOf(t, "excluded interface", out.ExcludeInterfaces) {
		found := false
		for dev, to := range t.by {
			if d := explain.Final(explain.Explain(redirect.Rules{Outbound: redirect.Outbound{To: 1, ExcludeInterfaces: []string{name}}}, explain.Flow{To: netip.AddrPortFrom(to, 1), Out: dev}, explain.Host{})); d.Rule == "outbound.excludeInterfaces" {
				t.add("excluded interface "+dev, explain.Flow{To: netip.AddrPortFrom(to, t.port()), Out: dev}, app)
				found = true
			}
		}
		if !found {
			t.add("excluded interface "+name, explain.Flow{To: t.elsewhere()}, skipped("nothing is reached by it in "+t.name))
		}
	}
	t.owners("excluded", out.Exclude, func() explain.Flow { return explain.Flow{To: t.elsewhere()} }, t.away())
	if vip, ok := t.vip(); ok && len(out.Exclude.UIDs) > 0 && out.Only.IsZero() {
		uid := out.Exclude.UIDs[0]
		t.add(fmt.Sprintf("excluded user %d, to a service", uid), explain.Flow{To: vip}, as(identity{uid: uid, gid: uid, set: true}))
	}
}

// firstOf are the entries of a list that are played.
func firstOf[T any](t *table, name string, list []T) []T {
	if more := len(list) - maxOfList; more > 0 {
		t.add(fmt.Sprintf("%s: %d more", name, more), explain.Flow{}, skipped(fmt.Sprintf("of a list the first %d are played", maxOfList)))
		return list[:maxOfList]
	}
	return list
}

var loopback4 = netip.MustParsePrefix("127.0.0.0/8")

// owners has one probe for each user, group and cgroup.
func (t *table) owners(name string, o redirect.Owners, flow func() explain.Flow, change ...func(*probing)) {
	for _, uid := range firstOf(t, name+" user", o.UIDs) {
		t.add(fmt.Sprintf("%s user %d", name, uid), flow(), append(slices.Clone(change), as(identity{uid: uid, gid: t.neutral(), cgroup: t.app.cgroup, set: true}))...)
	}
	for _, gid := range firstOf(t, name+" group", o.GIDs) {
		t.add(fmt.Sprintf("%s group %d", name, gid), flow(), append(slices.Clone(change), as(identity{uid: t.neutral(), gid: gid, cgroup: t.app.cgroup, set: true}))...)
	}
	for _, path := range firstOf(t, name+" cgroup", o.Cgroups) {
		t.add(fmt.Sprintf("%s cgroup %s", name, path), flow(), append(slices.Clone(change), as(identity{uid: t.neutral(), gid: t.neutral(), cgroup: path, set: true}))...)
	}
}

// neutral is an id of which no list speaks.
func (t *table) neutral() uint32 {
	for id := uint32(nobody); ; id-- {
		all := slices.Concat(t.Proxy.UIDs, t.Proxy.GIDs, t.Outbound.Only.UIDs, t.Outbound.Only.GIDs, t.Outbound.Exclude.UIDs, t.Outbound.Exclude.GIDs, t.DNS.Exclude.UIDs, t.DNS.Exclude.GIDs)
		if !slices.Contains(all, id) {
			return id
		}
	}
}

func (t *table) queries() {
	app := as(t.app)
	for _, transport := range []struct {
		name string
		udp  bool
	}{{"UDP", true}, {"TCP", false}} {
		name := "DNS over " + transport.name + ": "
		flow := func(a netip.Addr) explain.Flow {
			return explain.Flow{UDP: transport.udp, To: netip.AddrPortFrom(a, 53)}
		}
		t.add(name+"a query to another host", flow(t.other), app, query, t.away())
		t.add(name+"a query to the agent itself", explain.Flow{UDP: transport.udp, To: netip.AddrPortFrom(t.loopback, t.DNS.To)}, app, query)
		if !t.server.IsValid() {
			t.add(name+"queries that go straight", explain.Flow{}, skipped("port 53 of this host's addresses is taken"))
			continue
		}
		t.add(name+"a query to a server of this host", flow(t.server), app, query, own)
		agent := flow(t.server)
		agent.Mark = t.Marks.Agent
		t.add(name+"F5: the agent's own query", agent, query, own)
		t.owners(name+"excluded", t.DNS.Exclude, func() explain.Flow { return flow(t.server) }, query, own)
		if transport.udp && !t.app.set {
			t.add(name+"the agent's query from a port that was an application's", flow(t.server), query, own, again)
		}
	}
}
