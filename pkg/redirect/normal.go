package redirect

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// DefaultTable names our table where the rules name none.
const DefaultTable = "weft"

// Normal returns the same wish in its one form: lists are sorted, what touches
// or contains another is merged, what is empty is nil. Rules that wish the same
// have equal Normals. It shares nothing with r.
func (r Rules) Normal() Rules {
	r.Table = cmp.Or(r.Table, DefaultTable)
	r.Inbound.Method = cmp.Or(r.Inbound.Method, Keep)
	r.Inbound.Ports = mergePorts(r.Inbound.Ports)
	r.Inbound.ExcludePorts = mergePorts(r.Inbound.ExcludePorts)
	r.Inbound.ExcludeSources = mergePrefixes(r.Inbound.ExcludeSources)
	r.Inbound.ExcludeInterfaces = mergeInterfaces(r.Inbound.ExcludeInterfaces)
	r.Outbound.Forwarded = mergeInterfaces(r.Outbound.Forwarded)
	r.Outbound.ExcludePorts = mergePorts(r.Outbound.ExcludePorts)
	r.Outbound.ExcludeDestinations = mergePrefixes(r.Outbound.ExcludeDestinations)
	r.Outbound.ExcludeInterfaces = mergeInterfaces(r.Outbound.ExcludeInterfaces)
	for _, o := range r.owners() {
		*o.owners = o.owners.normal()
	}
	r.VIPs = mergePrefixes(r.VIPs)
	return r
}

func mergePorts(in []PortRange) []PortRange {
	var out []PortRange
	sorted := slices.SortedFunc(slices.Values(in), func(a, b PortRange) int { return cmp.Compare(a.First, b.First) })
	for _, p := range sorted {
		if n := len(out); n > 0 && int(p.First) <= int(out[n-1].Last)+1 {
			out[n-1].Last = max(out[n-1].Last, p.Last)
			continue
		}
		out = append(out, p)
	}
	return out
}

// mergePrefixes drops what another prefix contains and joins two halves into
// their whole.
func mergePrefixes(in []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range slices.SortedFunc(slices.Values(in), comparePrefixes) {
		p = p.Masked()
		for len(out) > 0 {
			top := out[len(out)-1]
			if top.Overlaps(p) { // sorted: top is the wider one
				p = top
			} else if whole, ok := join(top, p); ok {
				p = whole
			} else {
				break
			}
			out = out[:len(out)-1]
		}
		out = append(out, p)
	}
	return out
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Masked().Addr().Compare(b.Masked().Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// join returns the prefix of which a and b are the two halves.
func join(a, b netip.Prefix) (netip.Prefix, bool) {
	if a.Bits() != b.Bits() || a.Bits() == 0 || a.Addr().BitLen() != b.Addr().BitLen() {
		return netip.Prefix{}, false
	}
	whole := netip.PrefixFrom(a.Addr(), a.Bits()-1).Masked()
	return whole, whole.Contains(b.Addr())
}

func merge[T cmp.Ordered](in []T) []T { return slices.Compact(slices.Sorted(slices.Values(in))) }

// mergeInterfaces drops names that a pattern has already.
func mergeInterfaces(in []string) []string {
	var out []string
	for _, name := range merge(in) {
		had := func(pattern string) bool {
			stem, open := strings.CutSuffix(pattern, "*")
			return open && pattern != name && strings.HasPrefix(strings.TrimSuffix(name, "*"), stem)
		}
		if !slices.ContainsFunc(in, had) {
			out = append(out, name)
		}
	}
	return out
}

// normal drops cgroups that are beneath another.
func (o Owners) normal() Owners {
	o.UIDs, o.GIDs = merge(o.UIDs), merge(o.GIDs)
	var cgroups []string
	for _, path := range merge(o.Cgroups) {
		above := func(other string) bool { return beneath(path, other) }
		if !slices.ContainsFunc(cgroups, above) {
			cgroups = append(cgroups, path)
		}
	}
	o.Cgroups = cgroups
	return o
}

// beneath tells whether a path of a tree is another, or beneath it.
func beneath(path, other string) bool {
	return path == other || strings.HasPrefix(path, other+"/")
}

type placed struct {
	place  string
	owners *Owners
}

// owners are all that r names, with their places.
func (r *Rules) owners() []placed {
	return []placed{
		{"proxy", &r.Proxy},
		{"outbound.only", &r.Outbound.Only},
		{"outbound.exclude", &r.Outbound.Exclude},
		{"dns.exclude", &r.DNS.Exclude},
	}
}
