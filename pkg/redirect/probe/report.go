// Package probe sends connections and queries of its own through a host's
// redirection and looks where they arrive. DESIGN.md says how that is known.
package probe

import (
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/explain"
)

// A Prober probes one host: that of the calling thread's network namespace.
type Prober struct {
	Rules  redirect.Rules
	Domain string // of the mesh's names, "mesh"
	// Engine is asked for differences where a probe does not arrive.
	Engine redirect.Redirector
	// Tracer follows the probes, and keeps them from leaving the host. Without
	// one they leave, and die at the first router.
	Tracer redirect.Tracer
	// LeaseOver and TrialOver are as in explain.Host.
	LeaseOver, TrialOver bool
	// Inside leaves out calls from outside, for which the host otherwise has an
	// interface more for a moment.
	Inside bool
}

// A Report is what came of the probes.
type Report struct {
	Well    bool     `json:"well"`
	Faults  []Fault  `json:"faults,omitempty"` // what is at fault, that with most probes first
	Results []Result `json:"results"`
	Notes   []string `json:"notes,omitempty"`
}

// A Result is what came of one probe.
type Result struct {
	Name    string           `json:"name"`
	Flow    explain.Flow     `json:"flow"`
	Want    explain.Decision `json:"want"`
	Got     string           `json:"got,omitempty"`
	OK      bool             `json:"ok"`
	Skipped string           `json:"skipped,omitempty"` // why it was not sent; then it is OK
	Fault   string           `json:"fault,omitempty"`   // see Fault.What
	Hops    []redirect.Hop   `json:"hops,omitempty"`    // of what did not arrive
}

// A Fault is a thing at fault, and the probes that it stopped or led astray.
type Fault struct {
	What   string   `json:"what"`
	Remedy string   `json:"remedy"`
	Probes []string `json:"probes"`
}

// String tells what is at fault, then every probe, a line each.
func (r Report) String() string {
	var b strings.Builder
	for _, f := range r.Faults {
		fmt.Fprintf(&b, "AT FAULT  %s\n       -> %s\n", f.What, f.Remedy)
	}
	sent, arrived := 0, 0
	for _, x := range r.Results {
		switch {
		case x.Skipped != "":
			fmt.Fprintf(&b, "not sent  %s: %s\n", x.Name, x.Skipped)
			continue
		case x.OK:
			arrived++
			fmt.Fprintf(&b, "ok        %s: %s\n", x.Name, x.Got)
		default:
			fmt.Fprintf(&b, "FAULT     %s: got %s; should have got %s\n", x.Name, x.Got, expected(x.Want))
		}
		sent++
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note      %s\n", n)
	}
	fmt.Fprintf(&b, "%d of %d probes arrived where they should\n", arrived, sent)
	return b.String()
}

// expected is where a decision leads, in words.
func expected(d explain.Decision) string {
	switch d.Verdict {
	case explain.Outbound:
		return fmt.Sprintf("to the proxy's outbound listener, port %d", d.Port)
	case explain.Inbound:
		return fmt.Sprintf("to the proxy's inbound listener, port %d", d.Port)
	case explain.Agent:
		return fmt.Sprintf("to the agent's DNS server, port %d", d.Port)
	case explain.Refused:
		return "a refusal"
	}
	return "straight there"
}
