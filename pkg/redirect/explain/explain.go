// Package explain says which rule decides about a connection, from rules and
// facts about the host alone.
//
// It speaks of what rules mean, whatever engine puts them in force. That the
// kernel decides alike is tested with random rules and connections.
package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// A Flow is one new connection, or the first datagram to somebody.
type Flow struct {
	UDP  bool           `json:"udp,omitempty"` // else TCP
	From netip.AddrPort `json:"from,omitzero"`
	To   netip.AddrPort `json:"to"`
	// In is the interface by which it comes in; "" is a call of a process of
	// this host.
	In string `json:"in,omitempty"`
	// Out is the interface that it goes out by, where that is known.
	Out   string `json:"out,omitempty"`
	Mark  uint32 `json:"mark,omitempty"` // of the socket
	Owner Owner  `json:"owner,omitzero"` // of the socket, for a call of this host
}

func (f Flow) String() string {
	kind, from := "TCP", ""
	if f.UDP {
		kind = "UDP"
	}
	if f.From.IsValid() {
		from = f.From.String() + " "
	}
	return fmt.Sprintf("%s %s-> %s", kind, from, f.To)
}

// An Owner is who made a socket.
type Owner struct {
	UID uint32 `json:"uid"` // effective, as the socket was made
	GID uint32 `json:"gid"` // alike
	// Cgroup is the folder of the cgroup v2 tree, from the tree's root; "" is
	// the root, or not known.
	Cgroup string `json:"cgroup,omitempty"`
}

// A Host is what the decision depends on besides rules and flow.
type Host struct {
	Addresses []netip.Addr // its own; loopback need not be among them
	LeaseOver bool         // Rules.FailOpen has run out
	TrialOver bool         // Rules.ConfirmWithin has
}

// Local reports whether an address is the host's own.
func (h Host) Local(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsLoopback() || slices.Contains(h.Addresses, a)
}

// A Verdict is what becomes of a connection.
type Verdict string

// The verdicts.
const (
	Direct   Verdict = "direct"   // where it was going
	Outbound Verdict = "outbound" // to the proxy's outbound listener
	Inbound  Verdict = "inbound"  // to the proxy's inbound listener
	Agent    Verdict = "agent"    // to the agent's DNS server
	Refused  Verdict = "refused"  // by an answer
)

// A Decision is a verdict and the rule that made it.
type Decision struct {
	// Arriving is false for what leaves a process of this host, true for what
	// comes to the host, also from itself.
	Arriving bool    `json:"arriving"`
	Verdict  Verdict `json:"verdict"`
	Port     uint16  `json:"port,omitempty"` // of the listener that gets it
	// Rule is the place in the rules: "outbound.excludePorts".
	Rule string `json:"rule"`
	Why  string `json:"why"`
}

// Explain tells the decisions about a flow in their order. The last is what
// becomes of it. There are two for a call of this host to itself.
func Explain(r redirect.Rules, f Flow, h Host) []Decision {
	e := explainer{r.Normal(), f, h}
	e.To = netip.AddrPortFrom(f.To.Addr().Unmap(), f.To.Port())
	e.From = netip.AddrPortFrom(f.From.Addr().Unmap(), f.From.Port())
	if h.TrialOver && r.ConfirmWithin != 0 {
		return []Decision{e.straight("confirmWithin", "the trial is over, and nothing is redirected any more")}
	}
	if f.In != "" {
		return []Decision{e.arriving()}
	}
	first := e.leaving()
	if first.Verdict != Direct || !h.Local(e.To.Addr()) {
		return []Decision{first}
	}
	e.In = "lo"
	return []Decision{first, e.arriving()}
}

// Final is what becomes of a flow.
func Final(d []Decision) Decision { return d[len(d)-1] }

type explainer struct {
	redirect.Rules
	Flow
	host Host
}

func (e explainer) straight(rule, format string, args ...any) Decision {
	return e.decide(Direct, 0, rule, format, args...)
}

func (e explainer) decide(v Verdict, port uint16, rule, format string, args ...any) Decision {
	return Decision{Arriving: e.In != "", Verdict: v, Port: port, Rule: rule, Why: fmt.Sprintf(format, args...)}
}

const dnsPort = 53

// leaving decides about what a process of this host sends.
func (e explainer) leaving() Decision {
	if place, ok := e.mark(); ok {
		return e.straight("marks."+place, "its mark %#x is that of %s, whose own connections go straight", e.Mark, markOwners[place])
	}
	if what := e.among(e.Proxy); what != "" {
		return e.straight("proxy", "it is the proxy's or the agent's, told by its %s, and those go straight", what)
	}
	if only := e.Outbound.Only; !only.IsZero() && e.among(only) == "" {
		return e.straight("outbound.only", "only calls of others are redirected: %s", text(only))
	}
	if e.DNS.To != 0 && e.To.Port() == dnsPort {
		if what := e.among(e.DNS.Exclude); what != "" {
			return e.straight("dns.exclude", "its %s is excluded and asks its servers directly", what)
		}
		if !e.open() {
			return e.decide(Agent, e.DNS.To, "dns.to", "DNS queries go to the agent, whatever server they ask")
		}
		if e.UDP {
			return e.straight("failOpen", "the lease has run out, as the agent did not renew it, and queries go to their servers")
		}
	}
	return e.outbound()
}

var markOwners = map[string]string{"outbound": "the proxy's calls to peers", "inbound": "the proxy's calls to the workload", "agent": "the agent"}

// mark is the place of the mark that the flow carries.
func (e explainer) mark() (place string, ok bool) {
	m := e.Marks
	if m.Mask == 0 {
		return "", false
	}
	switch e.Mark & m.Mask {
	case m.Outbound:
		return "outbound", true
	case m.Inbound:
		return "inbound", true
	case m.Agent:
		return "agent", true
	}
	return "", false
}

// open tells that a fail-open host lets calls out.
func (e explainer) open() bool { return e.FailOpen != 0 && e.host.LeaseOver }

// outbound decides about what may go to the proxy.
func (e explainer) outbound() Decision {
	out, to := e.Outbound, e.To
	switch {
	case out.To == 0:
		return e.straight("outbound.to", "no calls are redirected")
	case e.UDP:
		return e.straight("outbound.to", "only TCP and DNS queries are redirected")
	}
	if p, ok := within(e.VIPs, to.Addr()); ok {
		return e.decide(Outbound, out.To, "vips", "%s is the address of a service (%s), which only the proxy can reach", to.Addr(), p)
	}
	if e.host.Local(to.Addr()) {
		return e.straight("outbound", "%s is this host's own, and calls to itself go straight", to.Addr())
	}
	if p, ok := within(out.ExcludeDestinations, to.Addr()); ok {
		return e.straight("outbound.excludeDestinations", "%s is in %s, which is excluded", to.Addr(), p)
	}
	if p, ok := among(out.ExcludePorts, to.Port()); ok {
		return e.straight("outbound.excludePorts", "port %d is excluded (%s)", to.Port(), p)
	}
	if name, ok := matching(out.ExcludeInterfaces, e.Out); ok {
		return e.straight("outbound.excludeInterfaces", "it goes out by %s, which is excluded (%s)", e.Out, name)
	}
	if what := e.among(out.Exclude); e.In == "" && what != "" {
		return e.straight("outbound.exclude", "its %s is excluded", what)
	}
	if e.open() {
		return e.straight("failOpen", "the lease has run out, as the agent did not renew it, and calls go out directly")
	}
	return e.decide(Outbound, out.To, "outbound.to", "calls to other hosts go through the proxy")
}

// arriving decides about what comes to this host, or through it.
func (e explainer) arriving() Decision {
	in, to := e.Inbound, e.To
	own := e.host.Local(to.Addr())
	if name, ok := matching(e.Outbound.Forwarded, e.In); ok && !own && e.In != "lo" {
		d := e.outbound()
		d.Why = fmt.Sprintf("what is forwarded for %s is redirected like calls of this host (%s): %s", e.In, name, d.Why)
		return d
	}
	switch {
	case !own:
		return e.straight("inbound", "%s is not this host's, and what it forwards is left alone", to.Addr())
	case e.UDP:
		return e.straight("inbound.to", "only TCP is redirected inbound")
	case in.To != 0 && to.Port() == in.To:
		return e.decide(Refused, 0, "inbound.to", "port %d is the proxy's inbound listener, which is not called directly", in.To)
	case e.Outbound.To != 0 && to.Port() == e.Outbound.To:
		return e.decide(Refused, 0, "outbound.to", "port %d is the proxy's outbound listener, which is not called directly", e.Outbound.To)
	case e.DNS.To != 0 && to.Port() == e.DNS.To:
		return e.straight("dns.to", "port %d is the agent's own", e.DNS.To)
	case in.To == 0:
		return e.straight("inbound.to", "nothing is redirected inbound")
	}
	rule := "inbound.ports"
	ports, declared := among(in.Ports, to.Port())
	if in.All {
		if p, ok := among(in.ExcludePorts, to.Port()); ok {
			return e.straight("inbound.excludePorts", "port %d is excluded (%s)", to.Port(), p)
		}
		rule = "inbound.all"
	} else if !declared {
		return e.straight("inbound.ports", "port %d is not declared", to.Port())
	}
	if place, _ := e.mark(); e.In == "lo" && place != "outbound" {
		return e.straight("inbound", "of this host's own calls to itself only the proxy's to a peer go in through the proxy")
	}
	if p, ok := within(in.ExcludeSources, e.From.Addr()); ok {
		return e.straight("inbound.excludeSources", "%s is in %s, which is excluded", e.From.Addr(), p)
	}
	if name, ok := matching(in.ExcludeInterfaces, e.In); ok {
		return e.straight("inbound.excludeInterfaces", "it comes in by %s, which is excluded (%s)", e.In, name)
	}
	if in.All {
		return e.decide(Inbound, in.To, rule, "every port that is not excluded goes through the proxy")
	}
	return e.decide(Inbound, in.To, rule, "port %d is declared (%s)", to.Port(), ports)
}

func (e explainer) among(o redirect.Owners) string { return Among(o, e.Owner) }

// Among tells by what somebody is among owners, such as "user 1000"; "" when
// he is not.
func Among(o redirect.Owners, who Owner) string {
	switch {
	case slices.Contains(o.UIDs, who.UID):
		return fmt.Sprintf("user %d", who.UID)
	case slices.Contains(o.GIDs, who.GID):
		return fmt.Sprintf("group %d", who.GID)
	}
	for _, path := range o.Cgroups {
		if who.Cgroup == path || strings.HasPrefix(who.Cgroup, path+"/") {
			return "cgroup " + path
		}
	}
	return ""
}

// text lists owners.
func text(o redirect.Owners) string {
	var out []string
	for _, uid := range o.UIDs {
		out = append(out, fmt.Sprintf("user %d", uid))
	}
	for _, gid := range o.GIDs {
		out = append(out, fmt.Sprintf("group %d", gid))
	}
	for _, path := range o.Cgroups {
		out = append(out, "cgroup "+path)
	}
	return strings.Join(out, ", ")
}

func within(prefixes []netip.Prefix, a netip.Addr) (netip.Prefix, bool) {
	i := slices.IndexFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
	if i < 0 {
		return netip.Prefix{}, false
	}
	return prefixes[i], true
}

func among(ports []redirect.PortRange, port uint16) (redirect.PortRange, bool) {
	i := slices.IndexFunc(ports, func(p redirect.PortRange) bool { return p.First <= port && port <= p.Last })
	if i < 0 {
		return redirect.PortRange{}, false
	}
	return ports[i], true
}

// matching finds a name, or a pattern that ends with "*".
func matching(names []string, name string) (string, bool) {
	i := slices.IndexFunc(names, func(n string) bool {
		stem, open := strings.CutSuffix(n, "*")
		return name != "" && (n == name || open && strings.HasPrefix(name, stem))
	})
	if i < 0 {
		return "", false
	}
	return names[i], true
}
