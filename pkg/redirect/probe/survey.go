//go:build linux

package probe

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/explain"
)

// documentation are addresses that nobody has (RFC 5737, RFC 3849).
var documentation = []netip.Prefix{
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/25"),
	netip.MustParsePrefix("2001:db8:5745::/64"),
}

// A device is an interface that is up, with the networks on it.
type device struct {
	name     string
	loopback bool
	networks []netip.Prefix // with the host's address in them
}

func devices() ([]device, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("look at interfaces: %w", err)
	}
	var out []device
	for _, i := range all {
		if i.Flags&net.FlagUp == 0 && i.Flags&net.FlagLoopback == 0 || i.Name == outsideName {
			continue
		}
		d := device{name: i.Name, loopback: i.Flags&net.FlagLoopback != 0}
		addrs, err := i.Addrs()
		if err != nil {
			continue // it has gone meanwhile
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				d.networks = append(d.networks, netip.PrefixFrom(p.Addr().Unmap(), p.Bits()))
			}
		}
		out = append(out, d)
	}
	return out, nil
}

// survey finds out what there is to probe.
func (r *run) survey() error {
	all, err := devices()
	if err != nil {
		return err
	}
	r.host = explain.Host{LeaseOver: r.LeaseOver, TrialOver: r.TrialOver}
	for _, d := range all {
		for _, n := range d.networks {
			r.host.Addresses = append(r.host.Addresses, n.Addr())
		}
	}
	tcp := []uint16{r.Rules.Outbound.To, r.Rules.Inbound.To, r.Rules.DNS.To}
	if r.listeners, err = findListeners(tcp, []uint16{r.Rules.DNS.To}); err != nil {
		return err
	}
	for _, f := range []family{
		{name: "IPv4", has: netip.Addr.Is4, loopback: netip.AddrFrom4([4]byte{127, 0, 0, 1})},
		{name: "IPv6", has: netip.Addr.Is6, loopback: netip.IPv6Loopback()},
	} {
		if !local53(false, netip.AddrPortFrom(f.loopback, 0)) {
			r.note("this host has no %s", f.name)
			continue
		}
		r.complete(&f, all)
		_, served := r.listeners.at(false, r.Rules.Outbound.To, f.loopback.Is4())
		if !f.own.IsValid() && !f.other.IsValid() && !served && f.loopback.Is6() {
			r.note("this host has IPv6 on loopback alone, and the proxy does not serve it")
			continue
		}
		r.families = append(r.families, f)
	}
	return nil
}

// local53 reports whether an address is this host's and free.
func local53(udp bool, at netip.AddrPort) bool {
	fd, err := listen(udp, at)
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}

// complete finds the addresses that probes are sent to.
func (r *run) complete(f *family, all []device) {
	f.by = make(map[string]netip.Addr)
	var near []netip.Prefix
	for _, d := range all {
		for _, n := range d.networks {
			if d.loopback || !f.has(n.Addr()) || n.Addr().IsLinkLocalUnicast() {
				continue
			}
			if !f.own.IsValid() {
				f.own = n.Addr()
			}
			near = append(near, n)
			if to := within(n); n.Bits() < n.Addr().BitLen()-1 && !r.host.Local(to) {
				f.by[d.name] = to
			}
		}
	}
	for _, p := range append(slices.Clone(documentation), near...) {
		if !f.has(p.Addr()) || p.Bits() >= p.Addr().BitLen()-1 {
			continue
		}
		to := within(p)
		by, ok := way(to)
		if !ok || by == "lo" || r.host.Local(to) || !r.unlisted(to, by) {
			continue
		}
		if !f.other.IsValid() {
			f.other, f.otherBy = to, by
		}
		if _, known := f.by[by]; !known {
			f.by[by] = to
		}
	}
	for _, a := range servers(*f) {
		if local53(true, netip.AddrPortFrom(a, 53)) && local53(false, netip.AddrPortFrom(a, 53)) {
			f.server = a
			break
		}
	}
}

// unlisted reports whether no list speaks of an address or its way.
func (r *run) unlisted(to netip.Addr, by string) bool {
	listed := redirect.Rules{Outbound: redirect.Outbound{To: 1, ExcludeDestinations: r.Rules.Outbound.ExcludeDestinations, ExcludeInterfaces: r.Rules.Outbound.ExcludeInterfaces}, VIPs: r.Rules.VIPs}
	d := explain.Final(explain.Explain(listed, explain.Flow{To: netip.AddrPortFrom(to, 1), Out: by}, r.host))
	return d.Rule == "outbound.to"
}

// servers are this host's addresses where port 53 may be free.
func servers(f family) []netip.Addr {
	if f.loopback.Is4() {
		return []netip.Addr{within(netip.MustParsePrefix("127.87.0.0/16")), within(netip.MustParsePrefix("127.101.0.0/16"))}
	}
	out := []netip.Addr{f.loopback}
	if f.own.IsValid() {
		out = append(out, f.own)
	}
	return out
}

// way is the interface by which an address is reached.
func way(to netip.Addr) (by string, ok bool) {
	routes, err := netlink.RouteGet(to.AsSlice())
	if err != nil || len(routes) == 0 {
		return "", false
	}
	i, err := net.InterfaceByIndex(routes[0].LinkIndex)
	if err != nil {
		return "", false
	}
	return i.Name, true
}

// noWay says why an address cannot be reached; "" where it can.
func noWay(to netip.Addr) string {
	routes, err := netlink.RouteGet(to.AsSlice())
	switch {
	case errors.Is(err, unix.EACCES):
		return "a rule or route forbids it (ip rule; ip route get " + to.String() + ")"
	case err != nil:
		return fmt.Sprintf("there is no route to it: %v (ip route get %s)", err, to)
	case len(routes) == 0:
		return "there is no route to it"
	}
	return ""
}
