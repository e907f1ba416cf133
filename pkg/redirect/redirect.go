// Package redirect points a host's traffic at the local proxy and takes it back.
//
// Rules is the whole wish; a Redirector makes the host agree with it, and a
// Keeper keeps it so. Engines live in the folders beside this file and know
// nothing of each other. What an engine can do beyond a Redirector it says by
// further interfaces: Watcher, Leaser.
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

	Marks    Marks    `json:"marks"`
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

// Inbound is traffic to the workloads of this host. Destination and port are
// kept (TPROXY), so that the host's own firewall rules go on meaning what they
// say.
type Inbound struct {
	// To is the port of the proxy's transparent listener; 0 redirects nothing.
	To uint16 `json:"to,omitempty"`
	// Ports are redirected. Everything else, sshd above all, stays untouched.
	Ports []PortRange `json:"ports,omitempty"`
	// ExcludeSources reach the workload directly.
	ExcludeSources []netip.Prefix `json:"excludeSources,omitempty"`
}

// Outbound is what this host's own processes call.
type Outbound struct {
	// To is the port of the proxy's outbound listener; 0 redirects nothing.
	To uint16 `json:"to,omitempty"`
	// Exclusions go out directly, except for calls to VIPs: only the proxy can
	// reach those.
	ExcludePorts        []PortRange    `json:"excludePorts,omitempty"`
	ExcludeDestinations []netip.Prefix `json:"excludeDestinations,omitempty"`
	ExcludeUIDs         []uint32       `json:"excludeUIDs,omitempty"`
}

// DNS is the queries of this host's own processes, UDP and TCP.
type DNS struct {
	// To is the port of the agent's DNS server; 0 redirects nothing.
	To uint16 `json:"to,omitempty"`
	// ExcludeUIDs ask their servers directly: the host's own resolver must be
	// among them, or its upstream queries come back to it through the agent.
	ExcludeUIDs []uint32 `json:"excludeUIDs,omitempty"`
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
