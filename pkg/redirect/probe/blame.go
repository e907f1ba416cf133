//go:build linux

package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/explain"
	"github.com/weft-mesh/weft/pkg/redirect/sockets"
)

// arrived tells whether a probe came to where its rules lead.
func (r *run) arrived(s *shot, l landing) bool {
	switch s.want.Verdict {
	case explain.Refused:
		return l.place == refused
	case explain.Agent:
		return l.place == theAgent
	case explain.Outbound:
		if l.place == noLonger {
			return !r.host.Local(s.flow.To.Addr()) && r.byProxy(s, l.at)
		}
		return l.place == theProxy && (l.original == s.flow.To || !l.original.IsValid() && l.at.Port() == s.want.Port)
	case explain.Inbound:
		right := l.at == s.flow.To
		if r.Rules.Inbound.Method == redirect.Rewrite {
			right = l.at.Port() == s.want.Port && (!l.original.IsValid() || l.original == s.flow.To)
		}
		return l.place == theProxy && right || l.place == noLonger && r.byProxy(s, s.flow.To)
	}
	switch {
	case s.server >= 0:
		return l.place == mine
	case r.host.Local(s.flow.To.Addr()) && s.query:
		return l.place == theAgent // asked at its own port
	case r.host.Local(s.flow.To.Addr()):
		own := s.flow.To.Port() == r.Rules.Inbound.To || s.flow.To.Port() == r.Rules.Outbound.To
		return l.place == someone || l.place == noLonger || l.place == refused || own && l.place == theProxy
	case slices.ContainsFunc(r.Rules.VIPs, func(p netip.Prefix) bool { return p.Contains(s.flow.To.Addr()) }):
		return l.place != theProxy && l.place != noLonger // it leads nowhere
	}
	return l.place == left
}

// byProxy tells whether it was the proxy that closed a connection at once, as
// it does with services that are not there, and in a family in which its own has
// no address. By then the socket is gone: it was the proxy if nobody else
// listens at the end that it had, or the packet filter gave it to nobody else.
func (r *run) byProxy(s *shot, at netip.AddrPort) bool {
	_, there := r.listeners.at(false, s.want.Port, s.flow.To.Addr().Is4())
	if !there {
		return false
	}
	if !at.IsValid() {
		return true // somebody of this host had it, and it was for nobody of this host
	}
	busy, err := sockets.Find(sockets.Query{States: []sockets.State{sockets.Listening}, Local: at.Port()})
	if err != nil {
		return false
	}
	if !slices.ContainsFunc(busy, func(b sockets.Socket) bool { return (listener{at: b.Local}).takes(at) }) {
		return true
	}
	if r.trace == nil {
		return true // nothing speaks against it
	}
	hops, err := r.trace.Hops(s.follow(r.host))
	return err == nil && slices.ContainsFunc(hops, func(h redirect.Hop) bool { return strings.HasPrefix(h.Rule, "inbound: to the proxy") })
}

// judge makes the report.
func (r *run) judge(ctx context.Context) (Report, error) {
	report := Report{Well: true}
	var differences []redirect.Difference
	looked := false
	faults := make(map[string]*Fault)
	var order []string
	for _, s := range r.shots {
		res := Result{Name: s.name, Flow: s.flow, Want: s.want, OK: true, Skipped: s.skip}
		if s.skip != "" {
			report.Results = append(report.Results, res)
			continue
		}
		res.Flow.From = s.from
		l := r.place(s)
		res.Got = l.String()
		res.OK = r.arrived(s, l)
		if !res.OK {
			if !looked && r.Engine != nil {
				var err error
				if differences, err = r.Engine.Check(ctx, r.Rules); err != nil {
					return report, err
				}
				looked = true
			}
			var what, remedy string
			what, remedy, res.Hops = r.blame(s, l, differences)
			res.Fault = what
			report.Well = false
			if faults[what] == nil {
				faults[what] = &Fault{What: what, Remedy: remedy}
				order = append(order, what)
			}
			faults[what].Probes = append(faults[what].Probes, s.name)
		}
		report.Results = append(report.Results, res)
	}
	if !slices.ContainsFunc(report.Results, func(x Result) bool { return x.Skipped == "" }) {
		return report, fmt.Errorf("probe the redirection: nothing could be sent: %s", report.Results[0].Skipped)
	}
	for _, what := range order {
		report.Faults = append(report.Faults, *faults[what])
	}
	slices.SortStableFunc(report.Faults, func(a, b Fault) int { return len(b.Probes) - len(a.Probes) })
	report.Notes = r.notes
	return report, nil
}

// evidence is all that is known of a probe that did not arrive.
type evidence struct {
	rules       redirect.Rules
	flow        explain.Flow
	want        explain.Decision
	landing     landing
	hops        []redirect.Hop
	traced      bool
	differences []redirect.Difference
	query       bool
	noWay       string // why the destination cannot be reached
	port        uint16 // of the listener where it should arrive; 0: any
	listener    bool   // somebody listens there
}

// blame names the thing at fault.
func (r *run) blame(s *shot, l landing, differences []redirect.Difference) (what, remedy string, hops []redirect.Hop) {
	e := evidence{rules: r.Rules, flow: s.flow, want: s.want, landing: l, differences: differences, query: s.query, listener: true}
	if r.trace != nil {
		if found, err := r.trace.Hops(s.follow(r.host)); err == nil {
			e.hops, e.traced = found[min(s.seen, len(found)):], true
		}
	}
	if !r.host.Local(s.flow.To.Addr()) {
		e.noWay = noWay(s.flow.To.Addr())
	}
	e.port = s.want.Port
	if s.query && s.server < 0 && s.flow.To.Port() == r.Rules.DNS.To {
		e.port = s.flow.To.Port()
	}
	if e.port != 0 {
		_, e.listener = r.listeners.at(s.flow.UDP, e.port, s.flow.To.Addr().Is4())
	}
	what, remedy = e.blame()
	return what, remedy, e.hops
}

const applyAgain = "weft-agent redirect apply"

// blame goes from what is certain to what is likely.
func (e evidence) blame() (what, remedy string) {
	for _, look := range []func() (string, string){
		e.device, e.route, e.dropped, e.readdressed, e.marked, e.nobody, e.hung, e.differs, e.untracked, e.neighbour, e.vanished, e.ours,
	} {
		if what, remedy := look(); what != "" {
			return what, remedy
		}
	}
	text := "nothing that is known"
	if len(e.hops) > 0 {
		text = "what happened after " + e.hops[len(e.hops)-1].String()
	}
	return text, "weft-agent redirect check --probe -o json has the way of each probe"
}

// difference finds one whose text has one of the words.
func (e evidence) difference(words ...string) (redirect.Difference, bool) {
	i := slices.IndexFunc(e.differences, func(d redirect.Difference) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(d.What, w) })
	})
	if i < 0 {
		return redirect.Difference{}, false
	}
	return e.differences[i], true
}

func told(d redirect.Difference) (what, remedy string) { return d.What + " is " + d.Is, d.Remedy }

func (e evidence) device() (what, remedy string) {
	if d, ok := e.difference("loopback device"); ok {
		return told(d)
	}
	return "", ""
}

// route is why a probe was not sent at all, or went another way.
func (e evidence) route() (what, remedy string) {
	service := e.want.Rule == "vips"
	i := slices.IndexFunc(e.rules.VIPs, func(p netip.Prefix) bool { return p.Contains(e.flow.To.Addr()) })
	if service && i >= 0 {
		if d, ok := e.difference("route " + e.rules.VIPs[i].String()); ok && (e.landing.place == unsent || e.landing.place == unanswered) {
			return told(d)
		}
	}
	if e.landing.place != unsent {
		return "", ""
	}
	if e.noWay != "" && !errors.Is(e.landing.err, unix.EPERM) {
		return fmt.Sprintf("%s: %s", e.flow.To.Addr(), e.noWay), "look at ip rule and ip route"
	}
	return "", ""
}

func (e evidence) isOurs(h redirect.Hop) bool {
	return h.Table == "inet "+e.rules.Table || strings.HasPrefix(h.Chain, "WEFT.")
}

func (e evidence) look(h redirect.Hop) string {
	return fmt.Sprintf("look at it: nft -a list chain %s %s", h.Table, h.Chain)
}

// dropped is a rule or policy that drops or refuses what should have come.
func (e evidence) dropped() (what, remedy string) {
	for _, h := range e.hops {
		if h.Verdict == "drop" && !h.Left && !e.isOurs(h) {
			return h.String(), e.look(h)
		}
	}
	return "", ""
}

// readdressed is a rule of somebody else that gave the packet another
// destination.
func (e evidence) readdressed() (what, remedy string) {
	for i, h := range e.hops[:max(len(e.hops)-1, 0)] {
		if next := e.hops[i+1]; next.To != h.To && !e.isOurs(h) {
			if h.Rule == "" {
				return fmt.Sprintf("something that nf_tables does not see, iptables-legacy or eBPF, which turned %s into %s before %s", h.To, next.To, next),
					"look at iptables-legacy-save and bpftool cgroup tree"
			}
			return fmt.Sprintf("%s, which leads it to %s", h, next.To), e.look(h)
		}
	}
	return "", ""
}

// marked is a mark of ours that somebody else set.
func (e evidence) marked() (string, string) {
	m := e.rules.Marks.Mask
	ours := func(mark uint32) bool {
		return m != 0 && slices.Contains([]uint32{e.rules.Marks.Outbound, e.rules.Marks.Inbound, e.rules.Marks.Agent}, mark&m)
	}
	for i, h := range e.hops {
		if ours(h.Mark) == ours(e.flow.Mark) || i == 0 && !ours(h.Mark) {
			continue
		}
		by, remedy := "somebody's rule", "look at who sets marks: nft list ruleset, iptables-legacy-save -t mangle and bpftool net"
		for j := i; j >= 0; j-- {
			if !e.isOurs(e.hops[j]) && e.hops[j].Rule != "" {
				by, remedy = e.hops[j].String(), e.look(e.hops[j])
				break
			}
		}
		return fmt.Sprintf("%s, which marks the packet %#x: by that the proxy is told", by, h.Mark), remedy
	}
	return "", ""
}

// nobody listens where the probe should arrive.
func (e evidence) nobody() (what, remedy string) {
	if e.listener || e.port == 0 {
		return "", ""
	}
	what = map[uint16]string{e.rules.Outbound.To: "the proxy's outbound listener", e.rules.Inbound.To: "the proxy's inbound listener", e.rules.DNS.To: "the agent's DNS server"}[e.port]
	kind, family := "TCP", "IPv4"
	if e.flow.UDP {
		kind = "UDP"
	}
	if e.flow.To.Addr().Is6() {
		family = "IPv6"
	}
	return fmt.Sprintf("nobody listens at %s port %d in %s, where %s should be", kind, e.port, family, what),
		"weft-agent status says how agent and Envoy are"
}

// differs is that the host has other rules than it should have.
func (e evidence) differs() (what, remedy string) {
	if len(e.differences) == 0 {
		return "", ""
	}
	for _, h := range e.hops { // what decided, if it is itself at fault
		if !e.isOurs(h) || h.Rule == "" {
			continue
		}
		if d, ok := e.difference(fmt.Sprintf("%q", h.Rule)); ok {
			return told(d)
		}
	}
	var place []string
	switch {
	case e.query:
		place = []string{"dns"}
	case e.want.Arriving || e.want.Verdict == explain.Inbound:
		place = []string{"inbound", "prerouting", "input"}
	default:
		place = []string{"outbound", "output", "vips", "marks"}
	}
	if d, ok := e.difference(place...); ok {
		return told(d)
	}
	return told(e.differences[0])
}

// untracked is that connection tracking, and so NAT, was left out.
func (e evidence) untracked() (what, remedy string) {
	if !e.traced || e.want.Arriving || e.want.Verdict == explain.Direct {
		return "", ""
	}
	if slices.ContainsFunc(e.hops, func(h redirect.Hop) bool {
		return e.isOurs(h) && (h.Chain == "output" || strings.HasSuffix(h.Chain, ".output"))
	}) {
		return "", ""
	}
	for _, h := range e.hops {
		if !e.isOurs(h) && h.Rule != "" {
			return fmt.Sprintf("%s, after which our chain output was not asked: it takes the packet out of connection tracking", h), e.look(h)
		}
	}
	return "", ""
}

// hung is a listener from which nobody takes connections.
func (e evidence) hung() (what, remedy string) {
	if !e.landing.waiting {
		return "", ""
	}
	return fmt.Sprintf("nobody takes connections from the listener at %s", e.landing.at), "weft-agent status says how Envoy is"
}

// neighbour is a rule of somebody else that decided last.
func (e evidence) neighbour() (what, remedy string) {
	if len(e.hops) == 0 || e.landing.place != refused && e.landing.place != unanswered {
		return "", ""
	}
	last := e.hops[len(e.hops)-1]
	if e.isOurs(last) || last.Rule == "" || last.Left {
		return "", ""
	}
	return last.String(), e.look(last)
}

// vanished is a packet that nobody decided about, as far as nf_tables sees.
func (e evidence) vanished() (what, remedy string) {
	if e.landing.place != unanswered || len(e.hops) == 0 {
		return "", ""
	}
	last := e.hops[len(e.hops)-1]
	if last.Left || last.Verdict == "drop" {
		return "", ""
	}
	return fmt.Sprintf("something that nf_tables does not see, iptables-legacy or eBPF, after %s", last),
		"look at iptables-legacy-save, ip6tables-legacy-save and bpftool net"
}

// ours is a rule of ours that decided otherwise.
func (e evidence) ours() (what, remedy string) {
	for _, h := range slices.Backward(e.hops) {
		if e.isOurs(h) && h.Rule != "" && (h.Verdict == "return" || h.Verdict == "accept") {
			return h.String(), applyAgain
		}
	}
	return "", ""
}
