//go:build linux

package iptables

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// Sets of one table, after its prefix. A generation of rules is in force while
// its own set has the set of all packets in it, and outbound and DNS while the
// lease's has: one message to the kernel, or a time that runs out there, changes
// every table of both families.
const (
	setAll   = "all"
	setLease = "lease"
)

func setName(table, what string) string { return prefix(table) + what }

// switches are the sets of one table, as they are.
type switches struct {
	table string
	held  []heldSet
}

func (s switches) set(what string) (heldSet, bool) {
	i := slices.IndexFunc(s.held, func(h heldSet) bool { return h.name == setName(s.table, what) })
	if i < 0 {
		return heldSet{}, false
	}
	return s.held[i], true
}

// on tells whether a list has the set of all packets, and how long yet; 0 is
// for ever.
func (s switches) on(what string) (left time.Duration, on bool) {
	h, _ := s.set(what)
	i := slices.IndexFunc(h.members, func(m member) bool { return m.name == setName(s.table, setAll) })
	if i < 0 {
		return 0, false
	}
	return h.members[i].left, true
}

// lit is the generation that rules follow: gates ask for a first.
func (s switches) lit() generation {
	for _, g := range generations {
		if _, on := s.on(string(g)); on {
			return g
		}
	}
	return ""
}

// A setChange is a message to ip_set, in its own language.
type setChange struct {
	verb      string // "create", "fill", "add", "del", "destroy"
	set, kind string
	member    string
	time      time.Duration
}

// String is as ipset restore reads it.
func (c setChange) String() string {
	switch c.verb {
	case "create":
		how := fmt.Sprintf("size %d timeout 0", listSize)
		if c.kind == kindPorts {
			how = "range 0-65535"
		}
		return fmt.Sprintf("create %s %s %s", c.set, c.kind, how)
	case "fill":
		return fmt.Sprintf("add %s 0-65535", c.set)
	case "add":
		return fmt.Sprintf("add %s %s timeout %d", c.set, c.member, seconds(c.time))
	case "del":
		return fmt.Sprintf("del %s %s", c.set, c.member)
	}
	return "destroy " + c.set
}

func (c setChange) send(conn *setConn) error {
	switch c.verb {
	case "create":
		return conn.create(c.set, c.kind)
	case "fill":
		return conn.fill(c.set)
	case "add":
		return conn.add(c.set, c.member, c.time)
	case "del":
		return conn.remove(c.set, c.member)
	}
	return conn.destroy(c.set)
}

func send(changes []setChange) error {
	if len(changes) == 0 {
		return nil
	}
	return withSets(func(c *setConn) error {
		for _, change := range changes {
			if err := change.send(c); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s switches) turnOn(what string, d time.Duration) setChange {
	return setChange{verb: "add", set: setName(s.table, what), member: setName(s.table, setAll), time: d}
}

func (s switches) turnOff(what string) setChange {
	return setChange{verb: "del", set: setName(s.table, what), member: setName(s.table, setAll)}
}

// leased tells whether rules want a lease.
func leased(r redirect.Rules) bool {
	return r.FailOpen != 0 && (r.Outbound.To != 0 || r.DNS.To != 0)
}

// wantedSets are the sets that rules need, by what they are of. Rules need them
// before they name them.
func wantedSets(r redirect.Rules) []string {
	all := []string{setAll, string(genA), string(genB)}
	if leased(r) {
		all = append(all, setLease)
	}
	return all
}

// lacking makes what rules need and is not there. A lease begins full.
func (s switches) lacking(r redirect.Rules) (changes []setChange) {
	for _, what := range wantedSets(r) {
		h, there := s.set(what)
		kind := kindList
		if what == setAll {
			kind = kindPorts
		}
		if !there {
			changes = append(changes, setChange{verb: "create", set: setName(s.table, what), kind: kind})
		}
		switch {
		case what == setAll && (!there || s.damaged(h)):
			changes = append(changes, setChange{verb: "fill", set: setName(s.table, what)})
		case what == setLease && !there:
			changes = append(changes, s.turnOn(setLease, r.FailOpen))
		}
	}
	return changes
}

// damaged tells that the set of all packets has not all; older kernels do not
// count what is in it.
func (s switches) damaged(all heldSet) bool { return all.entries >= 0 && all.entries != 1<<16 }

// turn puts a generation in force instead of what is, at one moment: b is made
// ready behind a, which is asked for first, and a comes before b.
func (s switches) turn(g generation, trial time.Duration) []setChange {
	if g == genA {
		return []setChange{s.turnOn(string(genA), trial), s.turnOff(string(genB))}
	}
	return []setChange{s.turnOn(string(genB), trial), s.turnOff(string(genA))}
}

// timing has a generation that has the right rules in force alone, and for ever
// where it is not on trial.
func (s switches) timing(g generation, r redirect.Rules) (changes []setChange) {
	left, on := s.on(string(g))
	if r.ConfirmWithin == 0 && (!on || left > 0) {
		changes = append(changes, s.turnOn(string(g), 0))
	}
	if _, on := s.on(string(g.next())); on {
		changes = append(changes, s.turnOff(string(g.next())))
	}
	return changes
}

// stale takes away the sets that rules do not need and those that no version of
// ours makes, lists first: they hold others.
func (s switches) stale(wanted []string) (changes []setChange) {
	for _, lists := range []bool{true, false} {
		for _, h := range s.held {
			if !slices.Contains(wanted, strings.TrimPrefix(h.name, prefix(s.table))) && (h.kind == kindList) == lists {
				changes = append(changes, setChange{verb: "destroy", set: h.name})
			}
		}
	}
	return changes
}

// names are what the sets that are there are of.
func (s switches) names() (out []string) {
	for _, h := range s.held {
		out = append(out, strings.TrimPrefix(h.name, prefix(s.table)))
	}
	return out
}

// off puts nothing in force, at one moment.
func (s switches) off() (changes []setChange) {
	for _, g := range slices.Backward(generations) {
		if _, on := s.on(string(g)); on {
			changes = append(changes, s.turnOff(string(g)))
		}
	}
	return changes
}

// compare tells how the switches differ from what rules want of generation g,
// which has them.
func (s switches) compare(d *differences, r redirect.Rules, g generation) {
	table := s.table
	for _, what := range wantedSets(r) {
		h, there := s.set(what)
		switch {
		case !there:
			d.add(isMissing, applyAgain, "set %s", setName(table, what))
		case what == setAll && s.damaged(h):
			d.add(isChanged, applyAgain, "set %s", setName(table, what))
		}
	}
	left, on := s.on(string(g))
	_, there := s.set(string(g))
	switch {
	case r.ConfirmWithin == 0 && !on && there:
		d.add("switched off", applyAgain, "redirection of table %s", table)
	case r.ConfirmWithin == 0 && left > 0:
		d.add("on trial", applyAgain, "redirection of table %s", table)
	case r.ConfirmWithin != 0 && on && left == 0:
		d.add("not on trial", applyAgain, "redirection of table %s", table)
	}
	if _, on := s.on(string(g.next())); on {
		d.add(isLeftOver, applyDelete, "the other generation of table %s, switched on,", table)
	}
	for _, c := range s.stale(wantedSets(r)) {
		d.add(isLeftOver, applyDelete, "set %s", c.set)
	}
}

// readSwitches reads the sets of a table.
func readSwitches(table string) (s switches, err error) {
	s.table = table
	err = withSets(func(c *setConn) error {
		s.held, err = c.list(prefix(table))
		return err
	})
	return s, err
}
