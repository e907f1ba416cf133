//go:build linux

package probe

import (
	"net/netip"
	"slices"

	"github.com/weft-mesh/weft/pkg/redirect/sockets"
)

// Listeners are what waits at the ports of proxy and agent.
type listeners struct {
	tcp, udp []listener
}

type listener struct {
	at          netip.AddrPort
	transparent bool
	process     sockets.Process
	pids        []int
}

func (l listener) takes(a netip.AddrPort) bool {
	return l.at.Port() == a.Port() && (l.at.Addr() == a.Addr() || l.at.Addr().IsUnspecified() && (l.at.Addr().Is4() == a.Addr().Is4() || l.at.Addr().Is6()))
}

// findListeners looks who listens at ports.
func findListeners(tcp, udp []uint16) (out listeners, err error) {
	find := func(q sockets.Query, ports []uint16) ([]listener, error) {
		all, err := sockets.Find(q)
		if err != nil {
			return nil, err
		}
		all = slices.DeleteFunc(all, func(s sockets.Socket) bool { return !slices.Contains(ports, s.Local.Port()) || s.Remote.Port() != 0 })
		holders, err := sockets.HoldersOf(all)
		if err != nil {
			return nil, err
		}
		var out []listener
		for _, s := range all {
			l := listener{at: s.Local, transparent: s.Transparent}
			for _, h := range holders[s.Inode] {
				l.pids = append(l.pids, h.PID)
				if p, err := sockets.Look(h.PID); err == nil {
					l.process = p
				}
			}
			out = append(out, l)
		}
		return out, nil
	}
	if out.tcp, err = find(sockets.Query{States: []sockets.State{sockets.Listening}}, tcp); err != nil {
		return out, err
	}
	out.udp, err = find(sockets.Query{UDP: true}, udp)
	return out, err
}

// at is who listens at a port, for an address of that family.
func (l listeners) at(udp bool, port uint16, v4 bool) (listener, bool) {
	all := l.tcp
	if udp {
		all = l.udp
	}
	i := slices.IndexFunc(all, func(l listener) bool {
		a := l.at.Addr()
		return l.at.Port() == port && (a.Is4() == v4 || a == netip.IPv6Unspecified())
	})
	if i < 0 {
		return listener{}, false
	}
	return all[i], true
}

// busyPorts are those at which anybody listens.
func busyPorts() (map[uint16]bool, error) {
	all, err := sockets.Find(sockets.Query{States: []sockets.State{sockets.Listening}})
	if err != nil {
		return nil, err
	}
	out := make(map[uint16]bool)
	for _, s := range all {
		out[s.Local.Port()] = true
	}
	return out, nil
}
