//go:build linux

package probe

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/weft-mesh/weft/pkg/redirect/explain"
)

func (t *table) inbound() {
	in := t.Inbound
	t.add("the inbound listener called directly", explain.Flow{To: netip.AddrPortFrom(t.loopback, in.To)}, as(t.app))
	if t.Outbound.To != 0 {
		t.add("the outbound listener called directly", explain.Flow{To: netip.AddrPortFrom(t.loopback, t.Outbound.To)}, as(t.app))
	}
	port, ok := t.declared()
	if !t.own.IsValid() || !ok {
		t.add("F2: the proxy to this host's service", explain.Flow{}, skipped("this host has no address or no declared port"))
		return
	}
	to := netip.AddrPortFrom(t.own, port)
	t.add("F2: the proxy to this host's service", explain.Flow{From: netip.AddrPortFrom(t.own, 0), To: to, Mark: t.Marks.Outbound})
	t.add("F4: the proxy to the workload at its port", explain.Flow{From: netip.AddrPortFrom(t.own, 0), To: to, Mark: t.Marks.Inbound})
	t.add("F4: the proxy to the workload at its port of loopback", explain.Flow{To: netip.AddrPortFrom(t.loopback, port), Mark: t.Marks.Inbound})
	t.add("inbound: a call from outside to the service", explain.Flow{To: to}, outside)
	t.add("inbound: the inbound listener called from outside", explain.Flow{To: netip.AddrPortFrom(t.own, in.To)}, outside)
	if undeclared, ok := t.undeclared(); ok {
		t.add(fmt.Sprintf("inbound: a call from outside to port %d, which is not redirected", undeclared), explain.Flow{To: netip.AddrPortFrom(t.own, undeclared)}, outside, own)
	}
	ours := slices.DeleteFunc(slices.Clone(in.ExcludeSources), func(p netip.Prefix) bool { return !t.has(p.Addr()) })
	for _, p := range firstOf(t, "excluded source", ours) {
		t.add("excluded source "+p.String(), explain.Flow{}, skipped("nobody here may speak for it"))
	}
	for _, name := range in.ExcludeInterfaces {
		t.add("inbound by excluded interface "+name, explain.Flow{}, skipped("a second interface of that name cannot be made"))
	}
}

// declared is a port that is redirected inbound: one where nobody listens, if
// there is any.
func (t *table) declared() (uint16, bool) {
	in := t.Inbound
	if in.All {
		for range 1000 {
			if p := t.port(); !excluded(in.ExcludePorts, p) && !t.busy[p] {
				return p, true
			}
		}
		return 0, false
	}
	if len(in.Ports) == 0 {
		return 0, false
	}
	return in.Ports[0].First, true
}

// undeclared is a port that is not redirected, where nobody listens.
func (t *table) undeclared() (uint16, bool) {
	in := t.Inbound
	if in.All {
		for _, r := range in.ExcludePorts {
			for p := int(r.First); p <= int(r.Last); p++ {
				if !t.busy[uint16(p)] {
					return uint16(p), true
				}
			}
		}
		return 0, false
	}
	for range 1000 {
		if p := t.port(); !excluded(in.Ports, p) && !t.busy[p] {
			return p, true
		}
	}
	return 0, false
}
