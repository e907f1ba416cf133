//go:build linux

package ebpf

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/sockets"
)

const again = "apply the rules again"

type differences []redirect.Difference

func (d *differences) add(is, remedy, what string, args ...any) {
	*d = append(*d, redirect.Difference{What: fmt.Sprintf(what, args...), Is: is, Remedy: remedy})
}

// compare tells how what is there differs from the wish.
func (s *scene) compare(have held) (d differences, err error) {
	table := s.place.table
	if _, err := os.Stat(s.place.dir() + before); err == nil {
		d.add("left over", again, "an earlier redirection of table %s in %s", table, s.place.dir()+before)
	}
	if !have.exists {
		d.add("missing", again, "redirection of table %s in %s", table, s.place.dir())
		return d, nil
	}
	links, err := s.links(have)
	if err != nil {
		return nil, err
	}
	d.links(links, have.links)
	if !have.usable {
		d.add("missing or another version's", again, "a map in %s", mapsIn(s.place.dir()))
		return d, nil
	}
	if !have.current {
		d.add("of another version", again+", which exchanges them", "the programs of table %s", table)
	}
	if !have.inForce {
		d.add("missing", again, "the rules in map current")
		return d, nil
	}
	d.config(s.wish.config, have.config)
	d.entries(s.wish, have)
	d.listeners(s.listeners, have.adopted)
	return d, nil
}

func (d *differences) links(want []wanted, have []hanging) {
	there := make(map[string]hanging)
	for _, h := range have {
		there[h.name] = h
	}
	for _, w := range want {
		h, ok := there[w.name]
		delete(there, w.name)
		what := fmt.Sprintf("program %s, by which %s,", w.name, w.hook.what)
		switch {
		case !ok:
			d.add("missing", again, "%s", what)
		case h.broken != "":
			d.add("broken", again+" ("+h.broken+")", "%s", what)
		case h.target == 0:
			d.add("detached", again, "%s", what)
		case h.target != w.target:
			d.add("in the wrong place", again, "%s", what)
		}
	}
	for _, name := range slices.Sorted(keys(there)) {
		switch {
		case !there[name].known:
			d.add("not ours", "unpin it, or "+again, "link %s", name)
		default:
			d.add("left over", again, "program %s", name)
		}
	}
}

func keys[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// config compares what has one value.
func (d *differences) config(want, have programConfig) {
	flag := func(c programConfig, f uint32) string {
		if c.Flags&f != 0 {
			return "on"
		}
		return "off"
	}
	for _, c := range []struct {
		what string
		of   func(c programConfig) string
	}{
		{"the network namespace", func(c programConfig) string { return fmt.Sprint(c.Netns, " ", c.NetnsInode) }},
		{"the marks", func(c programConfig) string {
			return fmt.Sprintf("%#x %#x %#x of %#x", c.MarkOutbound, c.MarkInbound, c.MarkAgent, c.MarkMask)
		}},
		{"the port of the inbound listener", func(c programConfig) string { return fmt.Sprint(c.InboundTo) }},
		{"the port of the outbound listener", func(c programConfig) string { return fmt.Sprint(c.OutboundTo) }},
		{"the port of the agent's DNS server", func(c programConfig) string { return fmt.Sprint(c.DnsTo) }},
		{"the lease of outbound and DNS", func(c programConfig) string { return flag(c, hasLease) }},
		{"the trial", func(c programConfig) string { return flag(c, hasTrial) }},
		{"what is asked of each call", func(c programConfig) string { return fmt.Sprintf("%#x", c.Flags&^(hasLease|hasTrial)) }},
		{"the redirected ports", func(c programConfig) string { return portText(portsOf(&c.InboundPorts)) }},
		{"the excluded ports", func(c programConfig) string { return portText(portsOf(&c.ExcludedPorts)) }},
	} {
		if w, h := c.of(want), c.of(have); w != h {
			d.add(fmt.Sprintf("%s instead of %s", cmp.Or(h, "none"), cmp.Or(w, "none")), again, "%s", c.what)
		}
	}
}

func portText(ports []redirect.PortRange) string {
	var out []string
	for _, p := range ports {
		out = append(out, p.String())
	}
	return strings.Join(out, ",")
}

var kindNames = map[netKind]string{
	vips: "range of services", destinations: "excluded destination", sources: "excluded source", locals: "this host's address",
}

func (n network) String() string { return fmt.Sprintf("%s %s", kindNames[n.kind], n.prefix) }

var roleNames = []struct {
	role uint32
	name string
}{{isProxy, "proxy"}, {isEnrolled, "outbound.only"}, {isExcluded, "outbound.exclude"}, {isResolver, "dns.exclude"}}

func (o owner) String() string {
	return fmt.Sprintf("%s %d", map[uint32]string{byUID: "user", byGID: "group", byCgroup: "cgroup"}[o.by], o.id)
}

func roleText(roles uint32) string {
	var out []string
	for _, r := range roleNames {
		if roles&r.role != 0 {
			out = append(out, r.name)
		}
	}
	return strings.Join(out, ", ")
}

// entries compares what has many. Those of no generation that counts are no
// difference: no program reads them.
func (d *differences) entries(w wish, have held) {
	generation := have.config.Generation
	want := w.entries(generation)
	var missing, extra []string
	for k := range want.networks {
		if !have.entries.networks[k] {
			missing = append(missing, networkOf(k).String())
		}
	}
	for k := range have.entries.networks {
		if (k.Generation == generation || k.Generation == 0) && !want.networks[k] {
			extra = append(extra, networkOf(k).String())
		}
	}
	changed := make(map[string]string)
	for k, roles := range want.owners {
		name := owner{k.By, k.Id}.String()
		switch had, ok := have.entries.owners[k]; {
		case !ok:
			missing = append(missing, name+" as "+roleText(roles))
		case had != roles:
			changed[name+" as "+roleText(roles)] = roleText(had)
		}
	}
	for k, roles := range have.entries.owners {
		if _, ok := want.owners[k]; k.Generation == generation && !ok {
			extra = append(extra, owner{k.By, k.Id}.String()+" as "+roleText(roles))
		}
	}
	for k := range want.interfaces {
		if !have.entries.interfaces[k] {
			missing = append(missing, fmt.Sprintf("excluded interface %d", k.Index))
		}
	}
	for k := range have.entries.interfaces {
		if k.Generation == generation && !want.interfaces[k] {
			extra = append(extra, fmt.Sprintf("excluded interface %d", k.Index))
		}
	}
	slices.Sort(missing)
	slices.Sort(extra)
	for _, m := range missing {
		d.add("missing", again, "%s", m)
	}
	for _, what := range slices.Sorted(keys(changed)) {
		d.add(cmp.Or(changed[what], "nobody"), again, "%s", what)
	}
	for _, m := range extra {
		d.add("not ours", again, "%s", m)
	}
}

// listeners that are there must be known to the programs. That the proxy is
// away is no difference: it is what they wait for.
func (d *differences) listeners(want map[slot]sockets.Socket, have map[slot]uint64) {
	var missing []string
	for s, l := range want {
		if have[s] != l.Cookie {
			missing = append(missing, fmt.Sprintf("the proxy's %s listener %s", map[uint8]string{toProxy: "outbound", toInbound: "inbound"}[s.Kind], l.Local))
		}
	}
	slices.Sort(missing)
	for _, m := range missing {
		d.add("not known to the programs", again, "%s", m)
	}
}

func prefixText(prefixes []netip.Prefix) string {
	var out []string
	for _, p := range prefixes {
		out = append(out, p.String())
	}
	return strings.Join(out, " ")
}
