package relay

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// listenGrace is how long Envoy's workers may take to take notice of a listener
// that was accepted with all that it needs.
const listenGrace = 100 * time.Millisecond

// outside keeps names of hosts outside of the mesh to themselves until Envoy
// listens at their virtual addresses. Such a name works without the mesh: given
// too early, or to a host that does not call that service, it would cease to.
type outside struct {
	list  []proxy.Name         // all names of the last table
	since map[string]time.Time // since when Envoy listens for a name
	told  []proxy.Name
	known bool // a table was there, if an empty one
	first bool // told once
	kept  bool // Envoy has what is on disk, and listens for it
	timer *time.Timer
}

// takeList takes a table of names whole, nil for none.
func (r *Relay) takeList(list []proxy.Name) {
	r.outside.list, r.outside.known = list, true
	r.tellNames(time.Now())
}

// tellNames hands the names on, those of hosts outside with the addresses at
// which Envoy listens. It is called with the lock.
func (r *Relay) tellNames(now time.Time) {
	o := &r.outside
	if !o.known {
		return
	}
	listening := r.table.listening()
	settled := r.table[listeners].view.open && r.table.quiet()
	var out []proxy.Name
	var wait time.Duration
	since := map[string]time.Time{}
	for _, n := range o.list {
		if strings.HasSuffix(n.Name, "."+proxy.Domain) {
			out = append(out, n)
			continue
		}
		n.Addresses = slices.DeleteFunc(slices.Clone(n.Addresses), func(a netip.Addr) bool { return !listening[a] })
		if len(n.Addresses) == 0 {
			continue
		}
		from, known := o.since[n.Name]
		switch {
		case known || o.kept:
		case settled:
			from = now
		default:
			continue
		}
		since[n.Name] = from
		if left := listenGrace - now.Sub(from); left > 0 {
			if wait == 0 || left < wait {
				wait = left
			}
			continue
		}
		out = append(out, n)
	}
	o.since, o.kept = since, false
	if wait > 0 && o.timer == nil {
		o.timer = time.AfterFunc(wait, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.outside.timer = nil
			r.tellNames(time.Now())
		})
	}
	same := func(a, b proxy.Name) bool {
		return a.Name == b.Name && slices.Equal(a.Addresses, b.Addresses) && slices.Equal(a.Ports, b.Ports)
	}
	if o.first && slices.EqualFunc(out, o.told, same) {
		return
	}
	o.first, o.told = true, out
	r.names.put(out)
}

// listening are the addresses of the outbound listeners that Envoy has and is
// to keep.
func (t *table) listening() map[netip.Addr]bool {
	addrs := map[netip.Addr]bool{}
	h := &t[listeners]
	for name := range h.accepted {
		at, ok := strings.CutPrefix(name, "outbound:")
		if !ok || h.desired[name] == nil {
			continue
		}
		if a, err := netip.ParseAddrPort(at); err == nil {
			addrs[a.Addr()] = true
		}
	}
	return addrs
}

// quiet says that Envoy is owed nothing and waits for nothing.
func (t *table) quiet() bool {
	for i := range t {
		h := &t[i]
		if h.own {
			continue
		}
		if h.busy() {
			return false
		}
		for name := range h.view.names {
			if _, ok := h.view.held[name]; !ok {
				return false
			}
		}
	}
	return true
}
