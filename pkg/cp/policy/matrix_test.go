package policy

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// TestMain has rapid look further than it does by itself; -rapid.checks still
// says otherwise.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "500"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// A choosing is one kind's way of being chosen: how a policy of two lists of
// selectors is written, and what is chosen for a dataplane and one target.
type choosing struct {
	kind   *mesh.Kind
	way    way
	write  func(sources, destinations []mesh.Selector) mesh.Spec
	choose func(policies []*mesh.Resource, dataplane []mesh.Tags, target mesh.Tags) Matches
}

// A way is how the reference says that policies are chosen.
type way int

const (
	// For each service that a dataplane calls, one: the best combination of
	// source, over any of its inbounds, and destination.
	connection way = iota
	// By the destination against an inbound's tags; sources have no say.
	inboundWinner
	// All of which a destination matches, by the rank of their best source.
	inboundAll
	// By the best selector over any of the dataplane's inbounds.
	dataplaneWide
)

// choosings lists every kind.
var choosings = []choosing{
	{mesh.TrafficRouteKind, connection, func(s, d []mesh.Selector) mesh.Spec { return &mesh.TrafficRoute{Sources: s, Destinations: d} }, chosen(Routes)},
	{mesh.TrafficLogKind, connection, func(s, d []mesh.Selector) mesh.Spec { return &mesh.TrafficLog{Sources: s, Destinations: d} }, chosen(Logs)},
	{mesh.HealthCheckKind, connection, func(s, d []mesh.Selector) mesh.Spec { return &mesh.HealthCheck{Sources: s, Destinations: d} }, chosen(HealthChecks)},
	{mesh.CircuitBreakerKind, connection, func(s, d []mesh.Selector) mesh.Spec { return &mesh.CircuitBreaker{Sources: s, Destinations: d} }, chosen(CircuitBreakers)},
	{mesh.RetryKind, connection, func(s, d []mesh.Selector) mesh.Spec { return &mesh.Retry{Sources: s, Destinations: d} }, chosen(Retries)},
	{mesh.TimeoutKind, connection, func(s, d []mesh.Selector) mesh.Spec { return &mesh.Timeout{Sources: s, Destinations: d} }, chosen(Timeouts)},
	{mesh.RateLimitKind, connection, func(s, d []mesh.Selector) mesh.Spec { return &mesh.RateLimit{Sources: s, Destinations: d} }, chosen(ExternalRateLimits)},
	{mesh.RateLimitKind, inboundAll, func(s, d []mesh.Selector) mesh.Spec { return &mesh.RateLimit{Sources: s, Destinations: d} }, atInbound(RateLimits)},
	{mesh.FaultInjectionKind, inboundAll, func(s, d []mesh.Selector) mesh.Spec { return &mesh.FaultInjection{Sources: s, Destinations: d} }, atInbound(Faults)},
	{mesh.TrafficPermissionKind, inboundWinner, func(s, d []mesh.Selector) mesh.Spec { return &mesh.TrafficPermission{Sources: s, Destinations: d} }, atInbound(Permissions)},
	{mesh.TrafficTraceKind, dataplaneWide, func(s, _ []mesh.Selector) mesh.Spec { return &mesh.TrafficTrace{Selectors: s} },
		func(ps []*mesh.Resource, dataplane []mesh.Tags, _ mesh.Tags) Matches { return Traces(ps, dataplane) }},
}

func chosen(from func([]*mesh.Resource, []mesh.Tags) *Choice) func([]*mesh.Resource, []mesh.Tags, mesh.Tags) Matches {
	return func(ps []*mesh.Resource, dataplane []mesh.Tags, target mesh.Tags) Matches {
		return from(ps, dataplane).Matches(target)
	}
}

func atInbound(find func([]*mesh.Resource, mesh.Tags) Matches) func([]*mesh.Resource, []mesh.Tags, mesh.Tags) Matches {
	return func(ps []*mesh.Resource, _ []mesh.Tags, target mesh.Tags) Matches { return find(ps, target) }
}

// An entry is a policy as the oracle sees it.
type entry struct {
	name                  string
	created               int
	sources, destinations []mesh.Selector
}

// A grade is how many tags a selector has, and how many of them have a value.
type grade struct{ tags, exact int }

func (g grade) beats(o grade) bool { return g.tags > o.tags || g.tags == o.tags && g.exact > o.exact }

// The oracle follows the sentences of the reference, one by one, by the
// slowest and plainest means.

// matches: every key exists with an equal value, or "*".
func oracleMatches(s mesh.Selector, tags mesh.Tags) bool {
	equal := 0
	for k, v := range tags {
		if want, ok := s.Match[k]; ok && (want == v || want == "*") {
			equal++
		}
	}
	return equal == len(s.Match)
}

// oracleBest: the highest grade of those selectors that match any of targets.
func oracleBest(ss []mesh.Selector, targets []mesh.Tags) (best grade, ok bool) {
	for _, s := range ss {
		g := grade{tags: len(s.Match)}
		for _, v := range s.Match {
			if v != "*" {
				g.exact++
			}
		}
		for _, tags := range targets {
			if oracleMatches(s, tags) && (!ok || g.beats(best)) {
				best, ok = g, true
			}
		}
	}
	return best, ok
}

// oracle names the policies that apply, best first.
func oracle(w way, entries []entry, dataplane []mesh.Tags, target mesh.Tags) (names []string) {
	grades := map[string]grade{}
	for _, e := range entries {
		from, fromOK := oracleBest(e.sources, dataplane)
		to, toOK := oracleBest(e.destinations, []mesh.Tags{target})
		switch {
		case w == connection && fromOK && toOK:
			grades[e.name] = grade{from.tags + to.tags, from.exact + to.exact}
		case w == inboundWinner && toOK:
			grades[e.name] = to
		case w == inboundAll && toOK:
			// Whoever the source may be: all that exist match themselves.
			var themselves []mesh.Tags
			for _, s := range e.sources {
				themselves = append(themselves, s.Match)
			}
			grades[e.name], _ = oracleBest(e.sources, themselves)
		case w == dataplaneWide && fromOK:
			grades[e.name] = from
		}
	}
	for len(grades) > 0 { // take out the best until none is left
		var best entry
		for _, e := range entries {
			g, ok := grades[e.name]
			if !ok {
				continue
			}
			b, taken := grades[best.name]
			switch {
			case !taken, g.beats(b):
				best = e
			case b.beats(g):
			case e.created > best.created: // a tie: later wins
				best = e
			case e.created == best.created && e.name < best.name: // then what sorts first
				best = e
			}
		}
		names = append(names, best.name)
		delete(grades, best.name)
	}
	return names
}

var (
	tagKeys   = []string{mesh.ServiceTag, "version", "zone"}
	tagValues = []string{"a", "b"}
)

// drawTags draws the tags of an inbound.
func drawTags(t *rapid.T, label string) mesh.Tags {
	tags := mesh.Tags{mesh.ServiceTag: rapid.SampledFrom(tagValues).Draw(t, label+" service")}
	for _, k := range tagKeys[1:] {
		if v := rapid.SampledFrom(append([]string{""}, tagValues...)).Draw(t, label+" "+k); v != "" {
			tags[k] = v
		}
	}
	return tags
}

// drawSelector draws one with at least one tag.
func drawSelector(t *rapid.T, label string, keys []string) mesh.Selector {
	values := append([]string{"*"}, tagValues...)
	m := mesh.Tags{}
	for _, k := range keys {
		if rapid.Bool().Draw(t, label+" has "+k) {
			m[k] = rapid.SampledFrom(values).Draw(t, label+" "+k)
		}
	}
	if len(m) == 0 {
		m[keys[0]] = rapid.SampledFrom(values).Draw(t, label+" "+keys[0])
	}
	return mesh.Selector{Match: m}
}

func drawSelectors(t *rapid.T, label string, keys []string) (ss []mesh.Selector) {
	for i := range rapid.IntRange(1, 3).Draw(t, label+"s") {
		ss = append(ss, drawSelector(t, fmt.Sprint(label, i), keys))
	}
	return ss
}

// TestMatrix has every kind's choice agree with the oracle on generated
// policies, dataplanes and targets.
func TestMatrix(t *testing.T) {
	for _, c := range choosings {
		t.Run(fmt.Sprint(c.kind.Name, " ", c.way), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { c.agrees(t) })
		})
	}
}

func (c choosing) agrees(t *rapid.T) {
	destinationKeys := tagKeys
	if c.way == connection {
		destinationKeys = tagKeys[:1]
	}
	var entries []entry
	var policies []*mesh.Resource
	for i := range rapid.IntRange(0, 6).Draw(t, "policies") {
		label := fmt.Sprint("p", i)
		e := entry{
			name: label, created: rapid.IntRange(0, 1).Draw(t, label+" created"),
			sources:      drawSelectors(t, label+" source", tagKeys),
			destinations: drawSelectors(t, label+" destination", destinationKeys),
		}
		entries = append(entries, e)
		policies = append(policies, &mesh.Resource{
			Kind: c.kind,
			Meta: mesh.Meta{Name: e.name, Created: epoch.Add(time.Duration(e.created) * time.Second)},
			Spec: c.write(e.sources, e.destinations),
		})
	}
	policies = rapid.Permutation(policies).Draw(t, "order")
	var dataplane []mesh.Tags
	for i := range rapid.IntRange(1, 2).Draw(t, "inbounds") {
		dataplane = append(dataplane, drawTags(t, fmt.Sprint("inbound", i)))
	}
	target := drawTags(t, "target")
	want := oracle(c.way, entries, dataplane, target)
	matches := c.choose(policies, dataplane, target)
	var got []string
	for _, m := range matches {
		got = append(got, m.Policy.Meta.Name)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%v calling %v (-oracle +chosen):\n%s", dataplane, target, d)
	}
	w, ok := matches.Winner()
	if ok != (len(want) > 0) || ok && w.Policy.Meta.Name != want[0] {
		t.Errorf("winner %+v, want the first of %v", w, want)
	}
}

// TestWinnersOfChoices has what is kept for many destinations answer as what
// is asked for one.
func TestWinnersOfChoices(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var policies []*mesh.Resource
		for i := range rapid.IntRange(0, 6).Draw(t, "policies") {
			label := fmt.Sprint("p", i)
			policies = append(policies, &mesh.Resource{
				Kind: mesh.TimeoutKind, Meta: mesh.Meta{Name: label, Created: epoch},
				Spec: &mesh.Timeout{Sources: drawSelectors(t, label+" source", tagKeys), Destinations: drawSelectors(t, label+" destination", tagKeys)},
			})
		}
		choice := Timeouts(policies, []mesh.Tags{drawTags(t, "inbound")})
		for range 3 {
			target := drawTags(t, "target")
			all, one := choice.Matches(target), Match{}
			if w, ok := choice.Winner(target); ok {
				one = w
			}
			if first, _ := all.Winner(); first.Policy != one.Policy || !cmp.Equal(first.Selector, one.Selector) {
				t.Errorf("winner %v by %v, first of all %v by %v", one.Policy, one.Selector, first.Policy, first.Selector)
			}
		}
	})
}

// TestWhatSelectorsNeed has validation agree with the reference on which
// selectors a kind takes: of connections the sources need a service, and the
// destinations have it and nothing else.
func TestWhatSelectorsNeed(t *testing.T) {
	for _, c := range choosings {
		if c.kind == mesh.TrafficTraceKind {
			continue
		}
		strict := c.way == connection && c.kind != mesh.RateLimitKind
		t.Run(fmt.Sprint(c.kind.Name, " ", c.way), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				source, destination := drawSelector(t, "source", tagKeys), drawSelector(t, "destination", tagKeys)
				_, from := source.Match[mesh.ServiceTag]
				_, to := destination.Match[mesh.ServiceTag]
				wantFrom, wantTo := !strict || from, !strict || to && len(destination.Match) == 1
				if c.kind == mesh.FaultInjectionKind {
					if rapid.Bool().Draw(t, "has a protocol") {
						destination.Match[mesh.ProtocolTag] = rapid.SampledFrom([]string{"http", "http2", "grpc", "tcp", "*"}).Draw(t, "protocol")
					}
					wantTo = slices.Contains([]string{"http", "http2", "grpc"}, destination.Match[mesh.ProtocolTag])
				}
				gotFrom, gotTo := true, true
				for _, v := range c.write([]mesh.Selector{source}, []mesh.Selector{destination}).Validate() {
					gotFrom = gotFrom && !strings.HasPrefix(v.Field, "sources")
					gotTo = gotTo && !strings.HasPrefix(v.Field, "destinations")
				}
				if gotFrom != wantFrom || gotTo != wantTo {
					t.Errorf("from %v (taken: %t, want %t) to %v (taken: %t, want %t)", source.Match, gotFrom, wantFrom, destination.Match, gotTo, wantTo)
				}
			})
		})
	}
}
