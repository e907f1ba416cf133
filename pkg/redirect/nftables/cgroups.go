//go:build linux

package nftables

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/nftables"

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

// follower puts cgroups that are there into the sets of normal rules that have
// them, in this network namespace, in one transaction and without a look at the
// table. It changes nothing else, and where the rules are not in force nothing at
// all: then it is false, and the next Apply's to do.
func (e *Engine) follower(r redirect.Rules) (func(now map[string]uint64) bool, error) {
	if len(named(r)) == 0 {
		return nil, nil
	}
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return nil, fmt.Errorf("open netlink to nf_tables: %w", explain(err))
	}
	return func(now map[string]uint64) bool {
		t := &transaction{conn: conn, table: &nftables.Table{Name: r.Table, Family: nftables.TableFamilyINet}}
		for _, s := range build(r, cgroups{ids: now}).sets {
			if s.kind == typeGroup && len(s.elements) > 0 && conn.SetAddElements(t.set(s), s.elements) != nil {
				return false
			}
		}
		return t.commit() == nil
	}, nil
}
