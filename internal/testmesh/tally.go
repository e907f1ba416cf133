//go:build linux

package testmesh

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The sorts of traffic in a mixed load.
const (
	KeepAlive      = "HTTP/1.1 keep-alive"
	NewConnections = "new connections"
	GRPCStream     = "gRPC stream"
	WebSocket      = "WebSocket"
)

// A Tally is what became of one sort of traffic. One message of a stream is one
// request.
type Tally struct {
	Requests int
	Failures map[string]int // by reason
	Slowest  time.Duration  // of those that were answered
	// Longest is the longest time from one answer to the next.
	Longest time.Duration
}

// Failed is how many requests failed.
func (t Tally) Failed() (n int) {
	for _, c := range t.Failures {
		n += c
	}
	return n
}

// Tallies are those of a load, by sort.
type Tallies map[string]Tally

// Failed is how many requests failed of all sorts.
func (t Tallies) Failed() (n int) {
	for _, one := range t {
		n += one.Failed()
	}
	return n
}

// Requests is how many there were of all sorts.
func (t Tallies) Requests() (n int) {
	for _, one := range t {
		n += one.Requests
	}
	return n
}

// String has a line for each sort.
func (t Tallies) String() string {
	var b strings.Builder
	for _, sort := range slices.Sorted(maps.Keys(t)) {
		one := t[sort]
		fmt.Fprintf(&b, "%-20s %5d requests, %d failed, slowest %d ms, longest gap %d ms\n",
			sort, one.Requests, one.Failed(), one.Slowest.Milliseconds(), one.Longest.Milliseconds())
		for _, why := range slices.Sorted(maps.Keys(one.Failures)) {
			fmt.Fprintf(&b, "    %d: %s\n", one.Failures[why], why)
		}
	}
	return b.String()
}
