package proxy

import "net/netip"

// Probes let who is outside of the mesh ask for single pages of the workload,
// in the clear.
type Probes struct {
	Listen netip.AddrPort `json:"listen"`
	Paths  []ProbePath    `json:"paths"`
}

// A ProbePath is one page.
type ProbePath struct {
	Path    string `json:"path"`    // exactly, at Listen
	Inbound string `json:"inbound"` // the name of the inbound whose workload answers
	To      string `json:"to"`      // what the workload is asked for
}
