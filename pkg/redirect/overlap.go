package redirect

import (
	"fmt"
	"slices"
)

// Overlap tells what the rules of two tables of one host would both redirect,
// in words; nothing where each keeps to its own. Who is in a group of the one
// and a cgroup of the other is not known.
func (r Rules) Overlap(other Rules) (both []string) {
	a, b := r.Normal(), other.Normal()
	if calls := func(r Rules) bool { return r.Outbound.To != 0 || r.DNS.To != 0 }; calls(a) && calls(b) {
		both = append(both, a.Outbound.Only.overlap(b.Outbound.Only)...)
	}
	if a.Inbound.To != 0 && b.Inbound.To != 0 {
		both = append(both, a.Inbound.overlap(b.Inbound)...)
	}
	ports := func(r Rules) []uint16 { return []uint16{r.Inbound.To, r.Outbound.To, r.DNS.To} }
	for _, p := range ports(a) {
		if p != 0 && slices.Contains(ports(b), p) {
			both = append(both, fmt.Sprintf("the proxy's own port %d", p))
		}
	}
	return both
}

func (o Owners) overlap(other Owners) (both []string) {
	if o.IsZero() || other.IsZero() {
		return []string{"everybody's calls"}
	}
	for _, id := range o.UIDs {
		if slices.Contains(other.UIDs, id) {
			both = append(both, fmt.Sprintf("calls of user %d", id))
		}
	}
	for _, id := range o.GIDs {
		if slices.Contains(other.GIDs, id) {
			both = append(both, fmt.Sprintf("calls of group %d", id))
		}
	}
	for _, p := range o.Cgroups {
		for _, q := range other.Cgroups {
			if beneath(p, q) {
				both = append(both, "calls from cgroup "+p)
			} else if beneath(q, p) {
				both = append(both, "calls from cgroup "+q)
			}
		}
	}
	return both
}

func (in Inbound) overlap(other Inbound) (both []string) {
	if in.All || other.All {
		return []string{"calls to every port"}
	}
	for _, p := range in.Ports {
		for _, q := range other.Ports {
			if common := (PortRange{First: max(p.First, q.First), Last: min(p.Last, q.Last)}); common.First <= common.Last {
				both = append(both, "calls to port "+common.String())
			}
		}
	}
	return both
}
