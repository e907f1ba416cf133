//go:build linux

package nftables

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
)

// RouteProtocol is the protocol number of our routes ('W'), by which we know
// them. Nobody else has it in iproute2's /etc/iproute2/rt_protos.
const RouteProtocol = 87

// metrics are what our routes have by default in each family. Other engines'
// routes have others.
var metrics = map[int]int{netlink.FAMILY_V4: 0, netlink.FAMILY_V6: 1024}

// A heldRoute is a route of the main table that is ours or stands where one of
// ours could be.
type heldRoute struct {
	prefix netip.Prefix
	ours   bool // our protocol, to the loopback device
	right  bool // ours, with our source
}

// routeText is the route in ip's words.
func routeText(verb string, p netip.Prefix) string {
	family := ""
	if p.Addr().Is6() {
		family = "-6 "
	}
	return fmt.Sprintf("ip %sroute %s %s dev lo proto %d src %s", family, verb, p, RouteProtocol, source(p))
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

func withRouting(do func(h *netlink.Handle) error) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink to the routes: %w", explain(err))
	}
	defer h.Close()
	return do(h)
}

func readRoutes() ([]heldRoute, error) {
	var out []heldRoute
	err := withRouting(func(h *netlink.Handle) error {
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
				ours := r.Protocol == RouteProtocol && r.LinkIndex == loopbackIndex && r.Gw == nil
				if metric := metrics[family]; ours && r.Priority != metric {
					continue // another engine's
				}
				right := ours && r.Src.Equal(source(p).AsSlice())
				out = append(out, heldRoute{prefix: p, ours: ours, right: right})
			}
		}
		return nil
	})
	return out, err
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

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func routeTo(p netip.Prefix) *netlink.Route {
	r := &netlink.Route{Dst: ipNet(p), LinkIndex: loopbackIndex, Protocol: RouteProtocol, Src: source(p).AsSlice()}
	if p.Addr().Is4() {
		r.Scope = netlink.SCOPE_LINK
	}
	return r
}

// mendRoutes adds what is missing and replaces what is ours but wrong. It never
// replaces another's.
func mendRoutes(missing, wrong []netip.Prefix) error {
	if len(missing)+len(wrong) == 0 {
		return nil
	}
	return withRouting(func(h *netlink.Handle) error {
		for _, p := range missing {
			err := h.RouteAdd(routeTo(p))
			if err != nil && !errors.Is(err, unix.EEXIST) {
				return fmt.Errorf("%s: %w", routeText("add", p), explain(err))
			}
		}
		for _, p := range wrong {
			if err := h.RouteReplace(routeTo(p)); err != nil {
				return fmt.Errorf("%s: %w", routeText("replace", p), explain(err))
			}
		}
		return nil
	})
}

func deleteRoutes(stale []netip.Prefix) error {
	if len(stale) == 0 {
		return nil
	}
	return withRouting(func(h *netlink.Handle) error {
		for _, p := range stale {
			r := routeTo(p)
			r.Src = nil // whatever it is: an earlier version chose another
			err := h.RouteDel(r)
			if err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("%s: %w", routeText("del", p), explain(err))
			}
		}
		return nil
	})
}

// stale are our routes that no table wants.
func (h held) stale(wanted []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, r := range h.routes {
		if r.ours && !slices.Contains(wanted, r.prefix) && !slices.Contains(h.otherVIPs, r.prefix) {
			out = append(out, r.prefix)
		}
	}
	return out
}

// route finds the route to a range: ours, else another's.
func (h held) route(p netip.Prefix) (heldRoute, bool) {
	var found heldRoute
	var ok bool
	for _, r := range h.routes {
		if r.prefix == p && (r.ours || !ok) {
			found, ok = r, true
		}
	}
	return found, ok
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

// loopbackUp reports whether lo carries traffic. Without it no redirection
// works: redirected connections go through it.
func loopbackUp() (up bool, err error) {
	err = withRouting(func(h *netlink.Handle) error {
		link, err := h.LinkByIndex(loopbackIndex)
		if err != nil {
			return fmt.Errorf("look at the loopback device: %w", explain(err))
		}
		up = link.Attrs().Flags&net.FlagUp != 0
		return nil
	})
	return up, err
}
