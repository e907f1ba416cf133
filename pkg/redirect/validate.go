package redirect

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// ErrInvalid: the rules cannot be meant. The error lists every fault, with its
// place and its remedy.
var ErrInvalid = errors.New("invalid")

// maxEntries bounds every list of the rules. One kernel transaction holds them
// all, and a host's owner who needs more wants a wider prefix or range.
const maxEntries = 4096

// maxVIPs bounds the ranges, as each is a route.
const maxVIPs = 64

var tableName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,30}$`)

// Validate tells all faults of the rules at once, in one error that wraps
// ErrInvalid.
func (r Rules) Validate() error {
	var f faults
	if r.Table != "" && !tableName.MatchString(r.Table) {
		f.add("table", "%.40q is not a name for a table: use a letter, then at most 30 of a-z, 0-9, _ and -", r.Table)
	}
	f.marks(r)
	f.captures(r)

	f.inbound(r.Inbound)
	f.outbound(r.Outbound)
	for _, o := range r.owners() {
		f.owners(o.place, *o.owners)
	}
	f.vips(r)
	f.lease("failOpen", r.FailOpen)
	f.lease("confirmWithin", r.ConfirmWithin)
	return f.err("redirect rules")
}

// faults are told a line each.
type faults []string

func (f *faults) add(place, format string, args ...any) {
	*f = append(*f, place+": "+fmt.Sprintf(format, args...))
}

func (f faults) err(what string) error {
	if len(f) == 0 {
		return nil
	}
	return &InvalidError{what, f}
}

// An InvalidError is every fault of what was read. It wraps ErrInvalid.
type InvalidError struct {
	What   string
	Faults []string // "outbound.excludePorts[1]: 90-80 runs backwards: …"
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("%s: %v:\n\t%s", e.What, ErrInvalid, strings.Join(e.Faults, "\n\t"))
}

func (e *InvalidError) Unwrap() error { return ErrInvalid }

// marks must be told from each other and from no mark at all.
func (f *faults) marks(r Rules) {
	m := r.Marks
	if r.Inbound.To == 0 && r.Outbound.To == 0 && r.DNS.To == 0 && m == (Marks{}) {
		return // nothing is redirected, so nobody has to be told apart
	}
	if m.Mask == 0 {
		f.add("marks.mask", "is 0: without it the proxy's own connections are redirected to itself")
		return
	}
	named := []struct {
		place string
		mark  uint32
	}{{"marks.outbound", m.Outbound}, {"marks.inbound", m.Inbound}, {"marks.agent", m.Agent}}
	for i, a := range named {
		switch {
		case a.mark == 0:
			f.add(a.place, "is 0, which every socket has: choose bits of marks.mask %#x", m.Mask)
		case a.mark&^m.Mask != 0:
			f.add(a.place, "%#x has bits outside of marks.mask %#x: widen the mask or choose another mark", a.mark, m.Mask)
		}
		for _, b := range named[:i] {
			if a.mark == b.mark && a.mark != 0 {
				f.add(a.place, "%#x is the mark of %s too: choose another", a.mark, b.place)
			}
		}
	}
}

// captures are the ports of the proxy and the agent themselves.
func (f *faults) captures(r Rules) {
	named := []struct {
		place string
		port  uint16
	}{{"inbound.to", r.Inbound.To}, {"outbound.to", r.Outbound.To}, {"dns.to", r.DNS.To}}
	for i, a := range named {
		if a.port == 0 {
			continue
		}
		for _, b := range named[:i] {
			if a.port == b.port {
				f.add(a.place, "%d is the port of %s too: choose another", a.port, b.place)
			}
		}
		for n, p := range r.Inbound.Ports {
			if p.contains(a.port) {
				f.add(fmt.Sprintf("inbound.ports[%d]", n), "%s has port %d, which is %s: leave it out", p, a.port, a.place)
			}
		}
	}
}

func (f *faults) inbound(in Inbound) {
	switch {
	case in.To != 0:
	case in.All:
		f.add("inbound.to", "is 0 though inbound.all is set: give the port of the proxy's inbound listener")
	case len(in.Ports) > 0:
		f.add("inbound.to", "is 0 though inbound.ports has entries: give the port of the proxy's inbound listener")
	}
	if in.Method != "" && in.Method != Keep && in.Method != Rewrite {
		f.add("inbound.method", "%.40q is neither %s nor %s", in.Method, Keep, Rewrite)
	}
	f.ports("inbound.ports", in.Ports)
	if in.All && len(in.Ports) > 0 {
		f.add("inbound.ports", "has entries though inbound.all has every port: leave one of them out")
	}
	f.ports("inbound.excludePorts", in.ExcludePorts)
	if !in.All && len(in.ExcludePorts) > 0 {
		f.add("inbound.excludePorts", "has ports, which only inbound.all needs: leave them out, or set inbound.all")
	}
	f.prefixes("inbound.excludeSources", in.ExcludeSources)
	f.interfaces("inbound.excludeInterfaces", in.ExcludeInterfaces)
}

func (f *faults) outbound(out Outbound) {
	f.ports("outbound.excludePorts", out.ExcludePorts)
	f.prefixes("outbound.excludeDestinations", out.ExcludeDestinations)
	f.interfaces("outbound.excludeInterfaces", out.ExcludeInterfaces)
	f.interfaces("outbound.forwarded", out.Forwarded)
	if out.To == 0 && len(out.Forwarded) > 0 {
		f.add("outbound.to", "is 0 though outbound.forwarded has entries: give the port of the proxy's outbound listener")
	}
	f.chosen("uids", out.Only.UIDs, out.Exclude.UIDs)
	f.chosen("gids", out.Only.GIDs, out.Exclude.GIDs)
	for i, path := range out.Only.Cgroups {
		for j, other := range out.Exclude.Cgroups {
			if path != "" && other != "" && beneath(path, other) {
				f.add(fmt.Sprintf("outbound.only.cgroups[%d]", i), "%s is excluded by outbound.exclude.cgroups[%d] %s: leave one of them out", path, j, other)
			}
		}
	}
}

// chosen tells whose calls are to be redirected and not to be.
func (f *faults) chosen(ids string, only, exclude []uint32) {
	for i, id := range only {
		if j := slices.Index(exclude, id); j >= 0 {
			f.add(fmt.Sprintf("outbound.only.%s[%d]", ids, i), "%d is excluded by outbound.exclude.%s[%d]: leave it out of one of them", id, ids, j)
		}
	}
}

// maxInterfaceName is IFNAMSIZ of <linux/if.h> less the NUL.
const maxInterfaceName = 15

func (f *faults) interfaces(place string, names []string) {
	f.limit(place, len(names))
	for i, name := range names {
		stem := strings.TrimSuffix(name, "*")
		if stem == "" || len(name) > maxInterfaceName || stem == "." || stem == ".." || strings.ContainsFunc(stem, func(c rune) bool {
			return c <= ' ' || c > '~' || c == '/' || c == '*' || c == '"'
		}) {
			f.add(fmt.Sprintf("%s[%d]", place, i), "%.40q is not the name of an interface: up to %d letters and digits, such as eth0, or docker* for all that begin so", name, maxInterfaceName)
		}
	}
}

func (f *faults) owners(place string, o Owners) {
	f.ids(place+".uids", "user", o.UIDs)
	f.ids(place+".gids", "group", o.GIDs)
	f.limit(place+".cgroups", len(o.Cgroups))
	for i, p := range o.Cgroups {
		if p == "" || p == "." || path.Clean(p) != p || strings.HasPrefix(p, "/") || strings.HasPrefix(p, "../") || p == ".." || strings.ContainsFunc(p, func(c rune) bool { return c < ' ' || c == '"' }) {
			f.add(fmt.Sprintf("%s.cgroups[%d]", place, i), "%.80q is not a folder of the cgroup tree: write it from the tree's root, such as system.slice/api.service", p)
		}
	}
}

func (f *faults) limit(place string, n int) bool {
	if n > maxEntries {
		f.add(place, "has %d entries; at most %d fit: use wider ranges", n, maxEntries)
	}
	return n <= maxEntries
}

func (f *faults) ports(place string, ports []PortRange) {
	if !f.limit(place, len(ports)) {
		return
	}
	var seen [math.MaxUint16 + 1]uint16 // index+1 of the range that has the port
	for i, p := range ports {
		if fault := p.fault(); fault != "" {
			f.add(fmt.Sprintf("%s[%d]", place, i), "%s", fault)
			continue
		}
		for port := int(p.First); port <= int(p.Last); port++ {
			if other := seen[port]; other != 0 {
				f.add(fmt.Sprintf("%s[%d]", place, i), "%s overlaps %s: write each port once", p, ports[other-1])
				break
			}
			seen[port] = uint16(i + 1)
		}
	}
}

func (f *faults) prefixes(place string, prefixes []netip.Prefix) {
	if !f.limit(place, len(prefixes)) {
		return
	}
	for i, p := range prefixes {
		at := fmt.Sprintf("%s[%d]", place, i)
		switch {
		case !p.IsValid():
			f.add(at, "is not an address range: write it like 10.0.0.0/8 or fd00::/8")
		case p.Addr().Is4In6():
			f.add(at, "%s is an IPv4 range in IPv6's clothes: write it as IPv4", p)
		case p.Masked() != p:
			f.add(at, "%s has bits set beyond its length: write %s for the range or %s for the host",
				p, p.Masked(), netip.PrefixFrom(p.Addr(), p.Addr().BitLen()))
		}
	}
}

func (f *faults) ids(place, what string, ids []uint32) {
	f.limit(place, len(ids))
	for i, id := range ids {
		if id == math.MaxUint32 {
			f.add(fmt.Sprintf("%s[%d]", place, i), "%d is the kernel's word for no %s", id, what)
		}
	}
}

// Bounds of a lease. A shorter one runs out whenever the host is busy for a
// moment; a longer one is no lease.
const (
	minLease = time.Second
	maxLease = time.Hour
)

func (f *faults) lease(place string, d time.Duration) {
	switch {
	case d == 0:
	case d < minLease || d > maxLease:
		f.add(place, "%s must be from %s to %s, or 0s for none", d, minLease, maxLease)
	case d%time.Millisecond != 0:
		f.add(place, "%s is finer than a millisecond", d)
	}
}

// never is what the host itself needs and no service can have.
var never = []struct {
	prefix netip.Prefix
	what   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "this host"},
	{netip.MustParsePrefix("127.0.0.0/8"), "the loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local addresses"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("::1/128"), "the loopback"},
	{netip.MustParsePrefix("fe80::/10"), "link-local addresses"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

func (f *faults) vips(r Rules) {
	f.prefixes("vips", r.VIPs)
	if len(r.VIPs) > maxVIPs {
		f.add("vips", "has %d ranges; at most %d fit: use wider ones", len(r.VIPs), maxVIPs)
		return
	}
	if len(r.VIPs) > 0 && r.Outbound.To == 0 {
		f.add("outbound.to", "is 0 though vips has entries: calls to services would go nowhere; give the port of the proxy's outbound listener")
	}
	if len(r.Outbound.ExcludeDestinations) > maxEntries {
		return // told already
	}
	for i, vip := range r.VIPs {
		at := fmt.Sprintf("vips[%d]", i)
		for _, n := range never {
			if vip.Overlaps(n.prefix) {
				f.add(at, "%s takes %s (%s) away: choose another range", vip, n.what, n.prefix)
			}
		}
		for j, d := range r.Outbound.ExcludeDestinations {
			if vip.Overlaps(d) && vip.Bits() <= d.Bits() { // a wider one is for what is around
				f.add(fmt.Sprintf("outbound.excludeDestinations[%d]", j), "%s is within vips[%d] %s, which only the proxy can reach: leave it out", d, i, vip)
			}
		}
	}
}
