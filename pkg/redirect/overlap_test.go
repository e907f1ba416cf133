package redirect

import (
	"slices"
	"testing"
)

func TestOverlap(t *testing.T) {
	second := func() Rules {
		r := valid()
		r.Table, r.Inbound.To, r.Outbound.To, r.DNS.To = "weft-b", 16006, 16001, 16053
		r.Inbound.Ports = []PortRange{{8081, 8089}}
		r.Outbound.Only = Owners{UIDs: []uint32{2}, GIDs: []uint32{2}, Cgroups: []string{"a/b", "c"}}
		return r
	}
	for _, c := range []struct {
		name  string
		first func(r *Rules)
		want  []string
	}{
		{"each its own", func(r *Rules) {
			r.Outbound.Only = Owners{UIDs: []uint32{1}, GIDs: []uint32{1}, Cgroups: []string{"a/c", "ab"}}
		}, nil},
		{"one has everybody", func(*Rules) {}, []string{"everybody's calls"}},
		{"a user, a group, cgroups", func(r *Rules) {
			r.Outbound.Only = Owners{UIDs: []uint32{1, 2}, GIDs: []uint32{2}, Cgroups: []string{"a", "c/d"}}
		}, []string{"calls of user 2", "calls of group 2", "calls from cgroup a/b", "calls from cgroup c/d"}},
		{"ports", func(r *Rules) {
			r.Outbound.Only.UIDs, r.Inbound.Ports = []uint32{1}, []PortRange{{8000, 8081}, {8089, 8090}}
		}, []string{"calls to port 8081", "calls to port 8089"}},
		{"every port", func(r *Rules) {
			r.Outbound.Only.UIDs, r.Inbound.Ports, r.Inbound.All = []uint32{1}, nil, true
		}, []string{"calls to every port"}},
		{"a listener", func(r *Rules) { r.Outbound.Only.UIDs, r.Outbound.To = []uint32{1}, 16001 }, []string{"the proxy's own port 16001"}},
		{"nothing redirected", func(r *Rules) { *r = Rules{} }, nil},
	} {
		first := valid()
		c.first(&first)
		slices.Sort(c.want)
		for _, got := range [][]string{first.Overlap(second()), second().Overlap(first)} {
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: both redirect %q, want %q", c.name, got, c.want)
			}
		}
	}
}
