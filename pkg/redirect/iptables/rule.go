//go:build linux

package iptables

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/weft-mesh/weft/pkg/redirect"
)

func (c *chain) add(name, match, target string) {
	c.rules = append(c.rules, rule{name: name, match: match, target: target})
}

func (c *chain) prefixes(name, option string, prefixes []netip.Prefix) {
	for _, p := range prefixes {
		c.add(name+" "+p.String(), option+" "+p.String(), "RETURN")
	}
}

// interfaces adds a rule for each; option is what comes before a name.
func (c *chain) interfaces(name, option string, interfaces []string, then rule) {
	for _, i := range interfaces {
		pattern := i
		if stem, open := strings.CutSuffix(i, "*"); open {
			pattern = stem + "+"
		}
		then.name, then.match = name+" "+i, option+" "+pattern
		c.rules = append(c.rules, then)
	}
}

// owners adds a rule for each of them who is there. A cgroup is matched as the
// folder that it was when its rule was made: its id, in the rule's name, tells
// it from one that is made anew.
func (b builder) owners(c *chain, name, match string, o redirect.Owners, then rule) {
	add := func(who, how string) {
		then.name, then.match = name+" "+who, match+" "+how
		c.rules = append(c.rules, then)
	}
	for _, uid := range o.UIDs {
		add(fmt.Sprintf("user %d", uid), fmt.Sprintf("-m owner --uid-owner %d", uid))
	}
	for _, gid := range o.GIDs {
		add(fmt.Sprintf("group %d", gid), fmt.Sprintf("-m owner --gid-owner %d", gid))
	}
	for _, path := range o.Cgroups {
		if id, there := b.cgroups[path]; there {
			add(fmt.Sprintf("cgroup %s (%d)", ending(path), id), "-m cgroup --path "+path)
		}
	}
}

// ending is the end of a path that a comment, of 255 bytes, has room for.
func ending(path string) string {
	const room = 180
	if len(path) <= room {
		return path
	}
	return "…" + path[len(path)-room:]
}

// ports adds as many rules as the list takes.
func (c *chain) ports(name, match string, ports []redirect.PortRange, then rule) {
	var lists [][]string
	room := 0
	for _, p := range ports {
		text, takes := fmt.Sprint(p.First), 1
		if p.First != p.Last {
			text, takes = fmt.Sprintf("%d:%d", p.First, p.Last), 2
		}
		if takes > room {
			lists, room = append(lists, nil), portsPerRule
		}
		lists[len(lists)-1] = append(lists[len(lists)-1], text)
		room -= takes
	}
	for i, list := range lists {
		then.name, then.match = name, "-p tcp "+match+" -m multiport --dports "+strings.Join(list, ",")
		if i > 0 {
			then.name = fmt.Sprintf("%s (%d)", name, i+1)
		}
		c.rules = append(c.rules, then)
	}
}
