package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/cgroup"
	"github.com/weft-mesh/weft/pkg/redirect/explain"
	"github.com/weft-mesh/weft/pkg/redirect/sockets"
)

// A Question is about a connection, a process or a unit.
type Question struct {
	// About is "tcp [FROM] TO", "udp [FROM] TO", a pid, or a unit or cgroup.
	About []string
	// Of a connection that this host does not have: who made it, as
	// "user:NAME" and such, its mark, and the interface that it comes in by.
	As   []string
	Mark uint32
	In   string
}

// An Explanation says which rules decide.
type Explanation struct {
	About   string           `json:"about"`
	Process *sockets.Process `json:"process,omitempty"`
	Answers []Answer         `json:"answers"`
	Notes   []string         `json:"notes,omitempty"`
}

// An Answer is about one connection, or those of one kind.
type Answer struct {
	What      string             `json:"what"`
	Flow      explain.Flow       `json:"flow"`
	Decisions []explain.Decision `json:"decisions"`
}

// String is a line or two for each answer.
func (e Explanation) String() string {
	var b strings.Builder
	fmt.Fprintln(&b, e.About)
	for _, a := range e.Answers {
		d := explain.Final(a.Decisions)
		fmt.Fprintf(&b, "  %s: %s\n      %s: %s\n", a.What, verdicts[d.Verdict](d.Port), d.Rule, d.Why)
	}
	for _, n := range e.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	return b.String()
}

var verdicts = map[explain.Verdict]func(port uint16) string{
	explain.Direct:   func(uint16) string { return "straight" },
	explain.Refused:  func(uint16) string { return "refused" },
	explain.Outbound: func(port uint16) string { return fmt.Sprintf("to Envoy's outbound listener, port %d", port) },
	explain.Inbound:  func(port uint16) string { return fmt.Sprintf("to Envoy's inbound listener, port %d", port) },
	explain.Agent:    func(port uint16) string { return fmt.Sprintf("to the agent's DNS server, port %d", port) },
}

// ErrQuestion: what was asked cannot be meant.
var ErrQuestion = errors.New("ask about a connection (tcp 10.0.0.1:40000 10.0.0.2:80), a process (4711), or a unit or cgroup (api.service)")

// ExplainRedirection answers from the rules that are wanted and this host as
// it is. That the host has other rules it notes.
func ExplainRedirection(ctx context.Context, cfg Config, q Question) (Explanation, error) {
	f, err := cfg.inForce(ctx)
	if err != nil {
		return Explanation{}, err
	}
	x := explaining{inForce: f}
	x.host = explain.Host{LeaseOver: f.leaseOver, TrialOver: f.trialOver}
	if x.host.Addresses, err = explain.Addresses(); err != nil {
		return Explanation{}, err
	}
	switch {
	case len(q.About) > 1 && (q.About[0] == "tcp" || q.About[0] == "udp"):
		err = x.connection(q)
	case len(q.About) != 1:
		err = ErrQuestion
	default:
		if pid, notPID := strconv.Atoi(q.About[0]); notPID == nil {
			err = x.process(pid)
		} else {
			err = x.unit(q.About[0])
		}
	}
	if err != nil {
		return Explanation{}, err
	}
	return x.out, x.differences(ctx)
}

type explaining struct {
	inForce
	host explain.Host
	out  Explanation
}

func (x *explaining) note(format string, args ...any) {
	x.out.Notes = append(x.out.Notes, fmt.Sprintf(format, args...))
}

func (x *explaining) answer(what string, f explain.Flow) {
	x.out.Answers = append(x.out.Answers, Answer{what, f, explain.Explain(x.rules, f, x.host)})
}

// differences notes where the host has not what the answers are from.
func (x *explaining) differences(ctx context.Context) error {
	found, err := x.choice.redirector.Check(ctx, x.rules)
	if errors.Is(err, redirect.ErrNotPermitted) {
		x.note("whether these rules are in force only root may see")
		return nil
	}
	if err != nil {
		return err
	}
	if len(found) > 0 {
		x.note("the host differs from these rules: %s is %s (weft-agent redirect check lists all)", found[0].What, found[0].Is)
	}
	return nil
}

// connection explains one, as this host has it or as it is described.
func (x *explaining) connection(q Question) error {
	f := explain.Flow{UDP: q.About[0] == "udp", Mark: q.Mark, In: q.In}
	ends := q.About[1:]
	if len(ends) > 2 {
		return ErrQuestion
	}
	var err error
	if f.To, err = netip.ParseAddrPort(ends[len(ends)-1]); err != nil {
		return fmt.Errorf("%w: %w", ErrQuestion, err)
	}
	if len(ends) == 2 {
		if f.From, err = netip.ParseAddrPort(ends[0]); err != nil {
			return fmt.Errorf("%w: %w", ErrQuestion, err)
		}
	}
	if f.In == "" && f.From.IsValid() && !x.host.Local(f.From.Addr()) {
		if f.In, _, err = explain.Way(f.From.Addr()); err != nil {
			return fmt.Errorf("by which interface does it come in? Give --in: %w", err)
		}
		x.note("it comes in by %s, as answers to %s go there", f.In, f.From.Addr())
	}
	x.out.About = f.String()
	if f.In == "" {
		if err := x.owner(&f, q); err != nil {
			return err
		}
		out, from, err := explain.Way(f.To.Addr())
		if err != nil {
			x.note("%v: it is not sent at all", err)
		} else if f.Out = out; !f.From.IsValid() {
			f.From = netip.AddrPortFrom(from, 0)
		}
	}
	x.answer("it goes", f)
	return nil
}

// owner finds who has the connection; where this host has none, it is who the
// question says.
func (x *explaining) owner(f *explain.Flow, q Question) error {
	n, err := hostDirectory().read(q.As, owners)
	if err != nil {
		return fmt.Errorf("--as: %w", err)
	}
	if len(n.UIDs) > 0 {
		f.Owner.UID = n.UIDs[0]
	}
	if len(n.GIDs) > 0 {
		f.Owner.GID = n.GIDs[0]
	}
	if len(n.Cgroups) > 0 {
		f.Owner.Cgroup = n.Cgroups[0]
	}
	if f.From.Port() == 0 || len(q.As) > 0 {
		if len(q.As) == 0 {
			x.note("made by root, without a mark; --as and --mark say otherwise")
		}
		return nil
	}
	all, err := sockets.Find(sockets.Query{UDP: f.UDP, Local: f.From.Port()})
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(s sockets.Socket) bool {
		return (s.Local.Addr() == f.From.Addr() || s.Local.Addr().IsUnspecified()) && s.Remote.Port() != 0 || f.UDP && s.Local.Port() == f.From.Port()
	})
	if i < 0 {
		x.note("this host has no such connection now: as if root had made it, without a mark")
		return nil
	}
	f.Mark, f.Owner.UID = all[i].Mark, all[i].UID
	holders, err := sockets.Holders(all[i].Inode)
	if err != nil || len(holders[all[i].Inode]) == 0 {
		x.note("it is user %d's, of a process that is not known", f.Owner.UID)
		return err
	}
	p, err := sockets.Look(holders[all[i].Inode][0].PID)
	if err != nil {
		return err
	}
	f.Owner.GID, f.Owner.Cgroup = p.GID, p.Cgroup
	x.out.Process = &p
	x.out.About += ", of " + whose(p)
	return nil
}

func whose(p sockets.Process) string {
	text := fmt.Sprintf("%s, user %d, group %d", p, p.UID, p.GID)
	if p.Cgroup != "" {
		text += ", cgroup " + p.Cgroup
	}
	return text
}

func (x *explaining) process(pid int) error {
	p, err := sockets.Look(pid)
	if err != nil {
		return err
	}
	x.out.Process, x.out.About = &p, whose(p)
	if p.Elsewhere {
		x.note("it is in a network namespace of its own, as in a container: none of these rules are about its own calls there. What this host forwards for it is left alone, unless forwarded names its interface here")
		return nil
	}
	x.calls(explain.Owner{UID: p.UID, GID: p.GID, Cgroup: p.Cgroup}, 0)
	return x.listening(p)
}

// calls answers for each kind of call that somebody can make.
func (x *explaining) calls(who explain.Owner, mark uint32) {
	out := x.rules.Outbound
	if i := slices.IndexFunc(x.rules.VIPs, func(p netip.Prefix) bool { return true }); i >= 0 {
		x.answer("calls to services of the mesh go", explain.Flow{To: netip.AddrPortFrom(x.rules.VIPs[i].Addr().Next(), 80), Owner: who, Mark: mark})
	}
	port := uint16(443)
	for slices.ContainsFunc(out.ExcludePorts, func(r redirect.PortRange) bool { return r.First <= port && port <= r.Last }) {
		port++
	}
	x.answer("calls to other hosts go", explain.Flow{To: netip.AddrPortFrom(elsewhere(out.ExcludeDestinations), port), Owner: who, Mark: mark})
	x.answer("calls to this host itself go", explain.Flow{To: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port), Owner: who, Mark: mark})
	x.answer("DNS queries go", explain.Flow{UDP: true, To: netip.AddrPortFrom(elsewhere(nil), 53), Owner: who, Mark: mark})
	var but []string
	for _, p := range out.ExcludePorts {
		but = append(but, "port "+p.String())
	}
	for _, p := range out.ExcludeDestinations {
		but = append(but, p.String())
	}
	for _, i := range out.ExcludeInterfaces {
		but = append(but, "what goes out by "+i)
	}
	if len(but) > 0 && explain.Final(x.out.Answers[len(x.out.Answers)-3].Decisions).Verdict == explain.Outbound {
		x.note("excluded, and so called straight: %s", strings.Join(but, ", "))
	}
}

// elsewhere is an address of nobody, outside of prefixes where there is one.
func elsewhere(excluded []netip.Prefix) netip.Addr {
	for _, a := range []string{"192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1"} {
		addr := netip.MustParseAddr(a)
		if !slices.ContainsFunc(excluded, func(p netip.Prefix) bool { return p.Contains(addr) }) {
			return addr
		}
	}
	return netip.MustParseAddr("192.0.2.1")
}

// listening answers for calls to the ports at which a process listens.
func (x *explaining) listening(p sockets.Process) error {
	all, err := sockets.Find(sockets.Query{States: []sockets.State{sockets.Listening}})
	if err != nil {
		return err
	}
	for _, s := range all {
		if _, ok := sockets.HeldBy(p.PID, s.Inode); !ok {
			continue
		}
		if s.Local.Addr().IsLoopback() {
			x.note("it listens at %s, which only this host can call", s.Local)
			continue
		}
		to := s.Local
		if to.Addr().IsUnspecified() && len(x.host.Addresses) > 0 {
			i := max(slices.IndexFunc(x.host.Addresses, func(a netip.Addr) bool { return !a.IsLoopback() && a.Is4() == to.Addr().Is4() }), 0)
			to = netip.AddrPortFrom(x.host.Addresses[i], to.Port())
		}
		x.answer(fmt.Sprintf("calls from other hosts to %s go", s.Local), explain.Flow{In: "any", From: netip.AddrPortFrom(elsewhere(x.rules.Inbound.ExcludeSources), 0), To: to})
	}
	return nil
}

// unit explains what a unit's, or a cgroup's, processes do.
func (x *explaining) unit(name string) error {
	path := strings.TrimPrefix(name, "/")
	root, err := cgroup.Root()
	if err != nil {
		return err
	}
	if !strings.Contains(path, "/") {
		if found, err := hostUnits().path(name); err == nil {
			path = found
		} else if _, statErr := os.Stat(filepath.Join(root, path)); statErr != nil {
			return err
		}
	}
	x.out.About = "cgroup " + path
	who := explain.Owner{Cgroup: path}
	procs, err := os.ReadFile(filepath.Join(root, path, "cgroup.procs"))
	pids := strings.Fields(string(procs))
	switch {
	case err != nil:
		x.note("it does not run; as if user 0 of it called")
	case len(pids) == 0:
		x.note("it has no process itself; as if user 0 of it called")
	default:
		pid, err := strconv.Atoi(pids[0])
		if err != nil {
			return err
		}
		p, err := sockets.Look(pid)
		if err != nil {
			return err
		}
		if len(pids) > 1 {
			x.note("it has %d processes; this is about the first", len(pids))
		}
		x.out.About += ": " + whose(p)
		x.out.Process = &p
		who = explain.Owner{UID: p.UID, GID: p.GID, Cgroup: p.Cgroup}
		x.calls(who, 0)
		return x.listening(p)
	}
	x.calls(who, 0)
	return nil
}
