//go:build linux

// Package pending has calls that began while rules were away, and that nobody
// has answered since, meet the rules all the same.
//
// It acts on the network namespace of the calling thread, and asks first who is
// calling: where nobody is, that is all. Excluded calls are left alone, and those
// of a process that cannot be found where that is what decides.
package pending

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/explain"
	"github.com/weft-mesh/weft/pkg/redirect/sockets"
)

// lacking says that what is asked about is gone, or that the kernel has no word
// for it.
func lacking(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP)
}

// A call is a TCP connection that this host has asked for.
type call struct {
	sockets.Socket
	decision explain.Decision
}

// calls are those that nobody has answered and that rules redirect. Where the
// kernel does not list sockets there are none.
func calls(r redirect.Rules) ([]call, error) {
	open, err := sockets.Find(sockets.Query{States: []sockets.State{sockets.SynSent}})
	if err != nil && lacking(err) {
		return nil, nil
	}
	if err != nil || len(open) == 0 {
		return nil, err
	}
	var host explain.Host
	if host.Addresses, err = explain.Addresses(); err != nil {
		return nil, err
	}
	who, err := ownersOf(r, open)
	if err != nil {
		return nil, err
	}
	var out []call
	for _, s := range open {
		owner, ok := who(s)
		if !ok {
			continue
		}
		f := explain.Flow{From: s.Local, To: s.Remote, Mark: s.Mark, Owner: owner}
		if len(r.Outbound.ExcludeInterfaces) > 0 {
			if f.Out, _, err = explain.Way(f.To.Addr()); err != nil {
				continue // it leads nowhere, and no rule can change that
			}
		}
		switch d := explain.Final(explain.Explain(r, f, host)); d.Verdict {
		case explain.Outbound, explain.Agent:
			out = append(out, call{s, d})
		}
	}
	return out, nil
}

// ownersOf tells whose sockets are, as far as rules ask for it.
func ownersOf(r redirect.Rules, all []sockets.Socket) (func(sockets.Socket) (explain.Owner, bool), error) {
	byProcess := false
	for _, o := range []redirect.Owners{r.Proxy, r.Outbound.Only, r.Outbound.Exclude, r.DNS.Exclude} {
		byProcess = byProcess || len(o.GIDs)+len(o.Cgroups) > 0
	}
	if !byProcess {
		return func(s sockets.Socket) (explain.Owner, bool) { return explain.Owner{UID: s.UID}, true }, nil
	}
	holders, err := sockets.HoldersOf(all)
	if err != nil {
		return nil, err
	}
	return func(s sockets.Socket) (explain.Owner, bool) {
		by := holders[s.Inode]
		if len(by) == 0 {
			return explain.Owner{}, false
		}
		p, err := sockets.Look(by[0].PID)
		return explain.Owner{UID: s.UID, GID: p.GID, Cgroup: p.Cgroup}, err == nil
	}, nil
}
