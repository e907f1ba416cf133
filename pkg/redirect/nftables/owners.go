//go:build linux

package nftables

import (
	"fmt"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// A way is one of those by which a packet's owner is told: a set and the
// condition to be in it.
type way struct {
	what string // in rules' names
	set  string // its role
	in   func(set string) part
}

// owned are the ways by which owners of a list are told.
func owned(list string, o redirect.Owners) []way {
	var ways []way
	if len(o.UIDs) > 0 {
		ways = append(ways, way{"users", list + "_uids", userIn})
	}
	if len(o.GIDs) > 0 {
		ways = append(ways, way{"groups", list + "_gids", groupIn})
	}
	depths, _ := byDepth(o.Cgroups)
	for _, d := range depths {
		ways = append(ways, way{fmt.Sprintf("cgroups at depth %d", d), cgroupsRole(list, d), cgroupIn(d)})
	}
	return ways
}

func cgroupsRole(list string, depth int) string { return fmt.Sprintf("%s_cgroups_%d", list, depth) }

// addOwners adds the sets of the ways by which owners are told.
func (b *builder) addOwners(list string, o redirect.Owners) {
	b.addSet(idSet(list+"_uids", o.UIDs, typeUID))
	b.addSet(idSet(list+"_gids", o.GIDs, typeGID))
	depths, at := byDepth(o.Cgroups)
	for _, d := range depths {
		b.addSet(cgroupSet(cgroupsRole(list, d), at[d], b.cgroups))
	}
}
