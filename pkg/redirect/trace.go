package redirect

import (
	"context"
	"fmt"
	"net/netip"
)

// A Tracer sees what this host's packet filter decides about single packets,
// whoever made the rules.
type Tracer interface {
	// Trace follows packets until the Trace is closed, or this process ends,
	// however it does. Then nothing of it is left.
	Trace(ctx context.Context, follow []Follow) (Trace, error)
}

// A Trace is what was seen of packets.
type Trace interface {
	// Hops are the decisions about packets of one Follow until now, in their
	// order.
	Hops(f Follow) ([]Hop, error)
	Close() error
}

// A Follow is packets from a port of this host, or of one beside it.
type Follow struct {
	UDP      bool
	FromPort uint16
	To       netip.AddrPort
	// Keep lets packets to it go through all rules, and then not leave the
	// host by a device. It holds for all packets to that destination.
	Keep bool
}

// A Hop is one rule that a packet met and that matched, or the end of a chain.
type Hop struct {
	Table string `json:"table"` // "inet weft"
	Chain string `json:"chain"`
	// Rule is its comment, or else "handle 7"; "" is the chain's policy.
	Rule    string         `json:"rule,omitempty"`
	Verdict string         `json:"verdict"` // "accept", "drop", "continue", "jump inbound", …
	From    netip.AddrPort `json:"from"`    // as the packet came into the chain
	To      netip.AddrPort `json:"to"`
	Mark    uint32         `json:"mark,omitempty"`
	In      string         `json:"in,omitempty"` // interfaces
	Out     string         `json:"out,omitempty"`
	// Left tells that it had passed all rules and was about to leave.
	Left bool `json:"left,omitempty"`
}

func (h Hop) String() string {
	rule := "the end"
	if h.Rule != "" {
		rule = fmt.Sprintf("rule %q", h.Rule)
	}
	return fmt.Sprintf("%s of chain %s in table %s: %s", rule, h.Chain, h.Table, h.Verdict)
}
