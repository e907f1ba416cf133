//go:build linux

package nftables

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/cgroup"
)

// cgroups are the folders that rules name, as they are at one moment. It is all
// that a ruleset has from the host.
type cgroups struct {
	ids    map[string]uint64 // by path; those that are not there are missing
	prefix string            // that nft needs before a path, see nftRoot
}

// nftRoot is where nft looks for the tree, wherever it is mounted.
const nftRoot = "/sys/fs/cgroup"

// find finds the folders that normal rules name. Without any it asks nothing.
func find(r redirect.Rules) (cgroups, error) {
	paths := named(r)
	if len(paths) == 0 {
		return cgroups{}, nil
	}
	root, err := cgroup.Root()
	if err != nil {
		return cgroups{}, err
	}
	ids, err := cgroup.IDs(root, paths)
	if err != nil {
		return cgroups{}, err
	}
	prefix, err := filepath.Rel(nftRoot, root)
	if err != nil {
		return cgroups{}, err
	}
	if prefix += "/"; prefix == "./" {
		prefix = ""
	}
	return cgroups{ids, prefix}, nil
}

// named are all folders that rules name.
func named(r redirect.Rules) []string {
	return slices.Concat(r.Proxy.Cgroups, r.Outbound.Only.Cgroups, r.Outbound.Exclude.Cgroups, r.DNS.Exclude.Cgroups)
}

// depth is how many steps a folder is from the tree's root.
func depth(path string) int { return 1 + strings.Count(path, "/") }

// byDepth sorts folders by how deep they are, as a rule asks for one depth.
func byDepth(paths []string) (depths []int, at map[int][]string) {
	at = make(map[int][]string)
	for _, p := range paths {
		d := depth(p)
		if at[d] == nil {
			depths = append(depths, d)
		}
		at[d] = append(at[d], p)
	}
	slices.Sort(depths)
	return depths, at
}
