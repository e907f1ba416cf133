// Package redirect points a host's traffic at the local proxy and takes it back.
//
// Rules is the whole wish; a Redirector makes the host agree with it, and a
// Keeper keeps it so. Engines live in the folders beside this file and know
// nothing of each other. What an engine can do beyond a Redirector it says by
// further interfaces: Planner, Prober, Watcher, Leaser, Recaller.
package redirect

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// What a Redirector's errors wrap.
var (
	// ErrNotSupported: the kernel or the system lacks what the engine needs.
	// The error names the feature and what to use instead.
	ErrNotSupported = errors.New("not supported here")
	// ErrNotPermitted: the caller may not change the host's network.
	ErrNotPermitted = errors.New("not permitted")
	// ErrNotInForce: what should be prolonged or confirmed is not there.
	ErrNotInForce = errors.New("not in force")
)

// Rules says which of the host's traffic goes to the proxy. It is the whole
// wish: what it does not name is left alone.
type Rules struct {
	// Table names what we own in the kernel, so that several agents can share
	// a network namespace. Default "weft".
	Table string `json:"table"`

	Marks Marks `json:"marks"`
	// Proxy tells the proxy's and the agent's processes besides by their
	// marks, for a proxy that may not set any. Where that is all that tells
	// them, calls of the proxy back to this host are not taken in again.
	Proxy    Owners   `json:"proxy,omitzero"`
	Inbound  Inbound  `json:"inbound"`
	Outbound Outbound `json:"outbound"`
	DNS      DNS      `json:"dns"`

	// VIPs are the ranges from which the mesh's services have their addresses.
	// They are routed to the loopback device, so that a call to a service
	// needs no default route and never leaves the host unredirected.
	VIPs []netip.Prefix `json:"vips,omitempty"`

	// FailOpen makes outbound and DNS depend on a lease of that length, in
	// whole milliseconds: while nobody renews it they go out directly. Inbound
	// stays with the proxy, as what the proxy lets in only by mTLS must not be
	// open to everybody for want of it; calls to VIPs stay too, since only the
	// proxy can reach those. 0: everything stays closed, however long.
	FailOpen time.Duration `json:"failOpen,omitempty"`

	// ConfirmWithin puts the rules on trial: they are in force for that long
	// after each Apply, in whole milliseconds, whoever lives to see it; then
	// traffic goes as if there were none, until Apply with or without it. Only
	// the routes to VIPs stay. 0: they stay in force.
	ConfirmWithin time.Duration `json:"confirmWithin,omitempty"`
}

// Marks are the socket marks by which the proxy's own connections are told.
type Marks struct {
	Mask     uint32 `json:"mask"`
	Outbound uint32 `json:"outbound"` // the proxy to its peers
	Inbound  uint32 `json:"inbound"`  // the proxy to the workload
	Agent    uint32 `json:"agent"`    // the agent itself
}

// Owners are local processes, told by who or where they are. A process is
// among them if any of the lists has it.
type Owners struct {
	UIDs []uint32 `json:"uids,omitempty"` // effective user, as the socket was made
	GIDs []uint32 `json:"gids,omitempty"` // effective group, alike
	// Cgroups are folders of the cgroup v2 tree and all beneath them, from the
	// tree's root, such as "system.slice/api.service".
	Cgroups []string `json:"cgroups,omitempty"`
}

// IsZero tells that nobody is meant.
func (o Owners) IsZero() bool { return len(o.UIDs)+len(o.GIDs)+len(o.Cgroups) == 0 }

// A Method is how inbound connections get to the proxy.
type Method string

const (
	// Keep leaves destination and port as they are (TPROXY, sk_lookup), so
	// that the host's own firewall rules go on meaning what they say and no
	// two connections fold into one. It is the default, also as "".
	Keep Method = "keep"
	// Rewrite makes the proxy's listener the destination (REDIRECT). The
	// host's firewall then meets the listener's port.
	Rewrite Method = "rewrite"
)

// Inbound is traffic to the workloads of this host.
type Inbound struct {
	// To is the port of the proxy's inbound listener; 0 redirects nothing.
	To     uint16 `json:"to,omitempty"`
	Method Method `json:"method,omitempty"`
	// Ports are redirected. Everything else, sshd above all, stays untouched.
	Ports []PortRange `json:"ports,omitempty"`
	// All redirects every port that ExcludePorts does not have; Ports is empty
	// then.
	All bool `json:"all,omitempty"`
	// What is excluded reaches the workload directly.
	ExcludePorts      []PortRange    `json:"excludePorts,omitempty"`
	ExcludeSources    []netip.Prefix `json:"excludeSources,omitempty"`
	ExcludeInterfaces []string       `json:"excludeInterfaces,omitempty"` // that it comes in by; a "*" at the end stands for any rest
}

// Outbound is what this host's own processes call.
type Outbound struct {
	// To is the port of the proxy's outbound listener; 0 redirects nothing.
	To uint16 `json:"to,omitempty"`
	// Only are those whose calls are redirected, calls to VIPs and DNS queries
	// included; nobody means everybody. By it several workloads of one host
	// can each have a proxy: their Only must not overlap.
	Only Owners `json:"only,omitzero"`
	// Forwarded are interfaces (of containers or VMs) of which forwarded TCP
	// connections are redirected like calls of this host's own processes. Only
	// does not apply to them, nor do exclusions by owner, and their queries go
	// straight. The proxy's outbound listener must be transparent and listen on
	// all addresses: engines hand it over in different ways, and where netfilter
	// sees what a bridge carries (br_netfilter) only the bridge's address is
	// reached. Who calls it directly is refused.
	Forwarded []string `json:"forwarded,omitempty"`
	// Exclusions go out directly, except for calls to VIPs: only the proxy can
	// reach those.
	Exclude             Owners         `json:"exclude,omitzero"`
	ExcludePorts        []PortRange    `json:"excludePorts,omitempty"`
	ExcludeDestinations []netip.Prefix `json:"excludeDestinations,omitempty"`
	ExcludeInterfaces   []string       `json:"excludeInterfaces,omitempty"` // that it goes out by
}

// DNS is the queries of this host's own processes, UDP and TCP, within
// Outbound.Only.
type DNS struct {
	// To is the port of the agent's DNS server; 0 redirects nothing.
	To uint16 `json:"to,omitempty"`
	// Exclude asks its servers directly: the host's own resolver must be among
	// them, or its upstream queries come back to it through the agent.
	Exclude Owners `json:"exclude,omitzero"`
}

// A PortRange is the ports from First to Last, both included.
type PortRange struct {
	First uint16 `json:"first"`
	Last  uint16 `json:"last"`
}

// A Redirector makes the host agree with rules.
type Redirector interface {
	// Apply puts rules in force, all of them or none, in one transaction.
	// With the same rules again it changes nothing.
	Apply(ctx context.Context, r Rules) error
	// Check tells how the host differs from rules; nothing when it agrees.
	Check(ctx context.Context, r Rules) ([]Difference, error)
	// Remove takes back what Apply did to the table of that name, and
	// succeeds when there is nothing to take back.
	Remove(ctx context.Context, table string) error
	// Describe returns what Apply would put in force, as text.
	Describe(r Rules) (string, error)
}

// A Prober is a Redirector that finds out whether this host can have rules.
type Prober interface {
	// Probe asks the kernel itself, by something that comes to nothing. It is
	// ErrNotSupported where Apply of these rules would be, in the same words,
	// and leaves no trace.
	Probe(ctx context.Context, r Rules) error
}

// A Leaser is a Redirector whose rules can be in force for a time. Run-out
// leases are no Difference: the rules are as they should be, and wait.
type Leaser interface {
	// Renew gives the lease of rules that are in force its time anew. It is
	// ErrNotInForce where there is none, and changes no rule.
	Renew(ctx context.Context, r Rules) error
	// Remaining tells how long the leases of that table have; zero for one
	// that has run out or never was.
	Remaining(ctx context.Context, table string) (Remaining, error)
}

// Remaining is the time that leases have.
type Remaining struct {
	FailOpen time.Duration // until outbound and DNS go out directly
	Trial    time.Duration // until all goes directly, see Rules.ConfirmWithin
}

// A Difference is one thing on the host that is not as rules want it.
type Difference struct {
	What string `json:"what"` // `rule "inbound: redirect" in chain prerouting`
	Is   string `json:"is"`   // "missing", "changed", "not ours", …
	// Remedy is what its owner can do about it.
	Remedy string `json:"remedy"`
}

func (d Difference) String() string { return d.What + " is " + d.Is + ": " + d.Remedy }
