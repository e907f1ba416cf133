//go:build linux

// Package route keeps the routes that lead a mesh's services to the loopback
// device.
//
// A call to a service needs a route before redirection can see it. The routes
// are in the main table, carry a protocol number of their own, by which they are
// known, and are harmless alone: they lead nowhere. Each engine has routes of
// its own, told by their metric, so that none takes away what another wants.
package route

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// Protocol is the protocol number of our routes ('W'). Nobody else has it in
// iproute2's /etc/iproute2/rt_protos.
const Protocol = 87

// A Metric tells one engine's routes from those of the others.
type Metric uint32

// The engines that have routes.
const (
	Nftables Metric = 0
	Iptables Metric = 1
	EBPF     Metric = 2
)

// metric6 is what the kernel makes of metric 0 in IPv6: IP6_RT_PRIO_USER in
// include/uapi/linux/ipv6_route.h.
const metric6 = 1024

// ErrNotOurs: a route to a wanted range belongs to somebody else. It is left as
// it is.
var ErrNotOurs = errors.New("not ours")

// loopbackIndex is the interface index of lo in every network namespace
// (LOOPBACK_IFINDEX in include/net/flow.h).
const loopbackIndex = 1

// A Table is the routes of the calling thread's network namespace at one
// moment, as one engine sees them: those of the others are not in it.
type Table struct {
	metric  Metric
	entries []entry
}

type entry struct {
	prefix netip.Prefix
	ours   bool // our protocol, to the loopback device
	right  bool // ours, with our source
}

// A Plan is what has to change.
type Plan struct {
	Differences    []redirect.Difference
	metric         Metric
	missing, wrong []netip.Prefix
	stale          []netip.Prefix
}

// Read lists the routes of the main table.
func (m Metric) Read() (Table, error) {
	out := Table{metric: m}
	err := with(func(h *netlink.Handle) error {
		for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
			routes, err := h.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
			if err != nil {
				return fmt.Errorf("list routes: %w", explain(err))
			}
			for _, r := range routes {
				p, ok := prefixOf(r.Dst)
				if !ok {
					continue
				}
				ours := r.Protocol == Protocol && r.LinkIndex == loopbackIndex && r.Gw == nil
				if ours && !m.is(family, r.Priority) {
					continue
				}
				out.entries = append(out.entries, entry{p, ours, ours && r.Src.Equal(source(p).AsSlice())})
			}
		}
		return nil
	})
	return out, err
}

func (m Metric) is(family, priority int) bool {
	if family == netlink.FAMILY_V6 && m == 0 {
		return priority == metric6
	}
	return priority == int(m)
}

// Plan tells how the routes differ from the wanted ranges. Routes of ours that
// are neither wanted nor kept are to go.
func (t Table) Plan(wanted, kept []netip.Prefix) Plan {
	p := Plan{metric: t.metric}
	for _, want := range routable(wanted) {
		switch e, ok := t.find(want); {
		case !ok:
			p.add("missing", again, "route %s dev lo", want)
			p.missing = append(p.missing, want)
		case !e.ours:
			p.add("not ours", "choose another range for vips, or delete that route: ip route del "+want.String(), "route %s", want)
		case !e.right:
			p.add("changed", again, "the source of route %s dev lo", want)
			p.wrong = append(p.wrong, want)
		}
	}
	for _, e := range t.entries {
		if e.ours && !slices.Contains(wanted, e.prefix) && !slices.Contains(kept, e.prefix) {
			p.add("left over", "apply the rules again, which deletes it", "route %s dev lo", e.prefix)
			p.stale = append(p.stale, e.prefix)
		}
	}
	return p
}

const again = "apply the rules again"

func (p *Plan) add(is, remedy, what string, prefix netip.Prefix) {
	p.Differences = append(p.Differences, redirect.Difference{What: fmt.Sprintf(what, prefix), Is: is, Remedy: remedy})
}

// Refused is an error that wraps ErrNotOurs where somebody else has a wanted
// route.
func (p Plan) Refused() error {
	for _, d := range p.Differences {
		if d.Is == "not ours" {
			return fmt.Errorf("%s is %w: %s", d.What, ErrNotOurs, d.Remedy)
		}
	}
	return nil
}

// Mend adds what is missing and replaces what is ours but wrong. It never
// replaces another's.
func (p Plan) Mend() error {
	if len(p.missing)+len(p.wrong) == 0 {
		return nil
	}
	return with(func(h *netlink.Handle) error {
		for _, prefix := range p.missing {
			if err := h.RouteAdd(p.metric.to(prefix)); err != nil && !errors.Is(err, unix.EEXIST) {
				return fmt.Errorf("%s: %w", p.metric.Text("add", prefix), explain(err))
			}
		}
		for _, prefix := range p.wrong {
			if err := h.RouteReplace(p.metric.to(prefix)); err != nil {
				return fmt.Errorf("%s: %w", p.metric.Text("replace", prefix), explain(err))
			}
		}
		return nil
	})
}

// DeleteStale deletes our routes that nobody wants.
func (p Plan) DeleteStale() error {
	if len(p.stale) == 0 {
		return nil
	}
	return with(func(h *netlink.Handle) error {
		for _, prefix := range p.stale {
			r := p.metric.to(prefix)
			r.Src = nil // whatever it is: an earlier version chose another
			if err := h.RouteDel(r); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("%s: %w", p.metric.Text("del", prefix), explain(err))
			}
		}
		return nil
	})
}

// find finds the route to a range: ours, else another's.
func (t Table) find(p netip.Prefix) (found entry, ok bool) {
	for _, e := range t.entries {
		if e.prefix == p && (e.ours || !ok) {
			found, ok = e, true
		}
	}
	return found, ok
}

// Text is the route in ip's words; the verb is add, del or replace.
func (m Metric) Text(verb string, p netip.Prefix) string {
	family, metric := "", ""
	if p.Addr().Is6() {
		family = "-6 "
	}
	if m != 0 {
		metric = fmt.Sprintf(" metric %d", m)
	}
	return fmt.Sprintf("ip %sroute %s %s dev lo proto %d src %s%s", family, verb, p, Protocol, source(p), metric)
}

// source is the address from which programs call what has this prefix. Left to
// itself the kernel takes one of the host's, and where there is none but
// loopback 0.0.0.0: connections from there open and then hang.
func source(p netip.Prefix) netip.Addr {
	if p.Addr().Is6() {
		return netip.IPv6Loopback()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

func (m Metric) to(p netip.Prefix) *netlink.Route {
	r := &netlink.Route{LinkIndex: loopbackIndex, Protocol: Protocol, Priority: int(m), Src: source(p).AsSlice(),
		Dst: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
	if p.Addr().Is4() {
		r.Scope = netlink.SCOPE_LINK
	}
	return r
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	bits, size := n.Mask.Size()
	if !ok || size != addr.BitLen() {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(addr, bits), true
}

// routable drops the IPv6 ranges where the host has no IPv6: nothing can call
// them there, and the kernel takes no route to them.
func routable(prefixes []netip.Prefix) []netip.Prefix {
	off, err := os.ReadFile("/proc/sys/net/ipv6/conf/lo/disable_ipv6")
	if err == nil && strings.TrimSpace(string(off)) == "0" {
		return prefixes
	}
	return slices.DeleteFunc(slices.Clone(prefixes), func(p netip.Prefix) bool { return p.Addr().Is6() })
}

// LoopbackUp reports whether lo carries traffic. Without it no redirection
// works: redirected connections go through it.
func LoopbackUp() (up bool, err error) {
	err = with(func(h *netlink.Handle) error {
		link, err := h.LinkByIndex(loopbackIndex)
		if err != nil {
			return fmt.Errorf("look at the loopback device: %w", explain(err))
		}
		up = link.Attrs().Flags&net.FlagUp != 0
		return nil
	})
	return up, err
}

func with(do func(h *netlink.Handle) error) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink to the routes: %w", explain(err))
	}
	defer h.Close()
	return do(h)
}

// explain turns what the kernel says about rights into the words of package
// redirect.
func explain(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("%w: it takes CAP_NET_ADMIN in this network namespace; run as root (%w)", redirect.ErrNotPermitted, err)
	}
	return err
}
