package redirect

import (
	"cmp"
	"net/netip"
	"slices"
)

// DefaultTable names our table where the rules name none.
const DefaultTable = "weft"

// Normal returns the same wish in its one form: lists are sorted, what touches
// or contains another is merged, what is empty is nil. Rules that wish the same
// have equal Normals. It shares nothing with r.
func (r Rules) Normal() Rules {
	r.Table = cmp.Or(r.Table, DefaultTable)
	r.Inbound.Ports = mergePorts(r.Inbound.Ports)
	r.Inbound.ExcludeSources = mergePrefixes(r.Inbound.ExcludeSources)
	r.Outbound.ExcludePorts = mergePorts(r.Outbound.ExcludePorts)
	r.Outbound.ExcludeDestinations = mergePrefixes(r.Outbound.ExcludeDestinations)
	r.Outbound.ExcludeUIDs = mergeUIDs(r.Outbound.ExcludeUIDs)
	r.DNS.ExcludeUIDs = mergeUIDs(r.DNS.ExcludeUIDs)
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

func mergeUIDs(in []uint32) []uint32 {
	return slices.Compact(slices.Sorted(slices.Values(in)))
}
