//go:build linux

package iptables

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/cgroup"
)

// A Flavour is one of the two kinds of iptables.
type Flavour string

const (
	NFT    Flavour = "nft"    // iptables over nf_tables
	Legacy Flavour = "legacy" // iptables over ip_tables
)

// flavours in order of preference.
var flavours = []Flavour{NFT, Legacy}

// A tool is the programs of one flavour, by absolute paths; [1] is IPv6's and
// may be empty.
type tool struct{ save, restore [2]string }

// systemDirs are where iptables is, whatever PATH says.
var systemDirs = []string{"/usr/sbin", "/sbin", "/usr/local/sbin"}

// find looks for the programs of both flavours. Distributions that have one
// flavour only give it no name of its own.
func find(ctx context.Context, dirs []string) map[Flavour]tool {
	tools := make(map[Flavour]tool)
	for _, f := range flavours {
		t := tool{
			save:    [2]string{lookup(dirs, "iptables-"+string(f)+"-save"), lookup(dirs, "ip6tables-"+string(f)+"-save")},
			restore: [2]string{lookup(dirs, "iptables-"+string(f)+"-restore"), lookup(dirs, "ip6tables-"+string(f)+"-restore")},
		}
		if t.usable() {
			tools[f] = t
		}
	}
	if len(tools) > 0 {
		return tools
	}
	t := tool{
		save:    [2]string{lookup(dirs, "iptables-save"), lookup(dirs, "ip6tables-save")},
		restore: [2]string{lookup(dirs, "iptables-restore"), lookup(dirs, "ip6tables-restore")},
	}
	if which := lookup(dirs, "iptables"); which != "" && t.usable() {
		f := Legacy
		if said, err := run(ctx, call{path: which, args: []string{"--version"}}); err == nil && strings.Contains(said[0], "nf_tables") {
			f = NFT
		}
		tools[f] = t
	}
	return tools
}

func (t tool) usable() bool { return t.has(ipv4) }

func (t tool) has(f family) bool { return t.save[f] != "" && t.restore[f] != "" }

// searched are the absolute folders of PATH and where system programs are.
func searched() []string {
	var out []string
	for _, d := range filepath.SplitList(os.Getenv("PATH")) {
		if filepath.IsAbs(d) {
			out = append(out, d)
		}
	}
	return append(out, systemDirs...)
}

func lookup(dirs []string, name string) string {
	for _, d := range dirs {
		path := filepath.Join(d, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

// families are those that the host has. /proc/sys/net shows the calling
// thread's network namespace. IPv6 that is off counts only where there are
// programs for it: they keep it closed when it is turned on.
func (e *Engine) families() []family {
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		return []family{ipv4}
	}
	for _, t := range e.tools {
		if t.has(ipv6) {
			return []family{ipv4, ipv6}
		}
	}
	if !hasIPv6() {
		return []family{ipv4}
	}
	return []family{ipv4, ipv6}
}

// hasIPv6 tells whether IPv6 is on at any interface of a host whose kernel has
// it.
func hasIPv6() bool {
	states, err := filepath.Glob("/proc/sys/net/ipv6/conf/*/disable_ipv6")
	if err != nil {
		return true
	}
	for _, s := range states {
		if off, err := os.ReadFile(s); err == nil && strings.TrimSpace(string(off)) == "0" && filepath.Base(filepath.Dir(s)) != "default" {
			return true
		}
	}
	return len(states) == 0
}

// legacyHolds reports whether the network namespace has any table of the
// legacy kind in a family. Asking iptables-legacy would make some.
func legacyHolds(f family) bool {
	name := [...]string{"ip_tables_names", "ip6_tables_names"}[f]
	b, err := os.ReadFile("/proc/thread-self/net/" + name)
	return err == nil && len(strings.TrimSpace(string(b))) > 0
}

// A host is what both flavours hold in both families, and what is switched on.
type host struct {
	switches switches
	families []family
	held     map[Flavour][2]held
	unusable map[Flavour]error
}

// read takes the picture; flavours that the kernel or the system lacks are
// noted and hold nothing.
func (e *Engine) read(ctx context.Context, table string) (host, error) {
	h := host{families: e.families(), held: make(map[Flavour][2]held), unusable: make(map[Flavour]error)}
	var err error
	if h.switches, err = readSwitches(table); err != nil {
		return h, err
	}
	type place struct {
		flavour Flavour
		family  family
	}
	for _, fl := range flavours {
		t, ok := e.tools[fl]
		if !ok {
			h.unusable[fl] = fmt.Errorf("%w: there is no iptables-%s-restore in %s", redirect.ErrNotSupported, fl, strings.Join(e.dirs, ":"))
			continue
		}
		var places []place
		var calls []call
		for _, f := range h.families {
			switch {
			case !t.has(f):
				h.unusable[fl] = fmt.Errorf("%w: the host has IPv6 but no ip6tables-%s-restore: install it, turn IPv6 off (net.ipv6.conf.all.disable_ipv6), or use the nftables engine", redirect.ErrNotSupported, fl)
			case fl == Legacy && !legacyHolds(f):
			default:
				places = append(places, place{fl, f})
				calls = append(calls, call{path: t.save[f]})
			}
		}
		texts, err := run(ctx, calls...)
		switch {
		case errors.Is(err, redirect.ErrNotSupported):
			h.unusable[fl] = err
			continue
		case err != nil:
			return h, err
		}
		var both [2]held
		for i, p := range places {
			both[p.family] = parse(table, texts[i])
			both[p.family].bury(cgroupGone)
			for _, name := range both[p.family].incompatible {
				h.unusable[fl] = fmt.Errorf("%w: %s table %s holds rules that iptables cannot read, made by nft; use the nftables engine",
					redirect.ErrNotSupported, p.family, name)
			}
		}
		h.held[fl] = both
	}
	return h, nil
}

// cgroupGone tells that there is no folder of that path in the cgroup tree.
func cgroupGone(path string) bool {
	root, err := cgroup.Root()
	if err != nil {
		return false
	}
	_, err = os.Stat(filepath.Join(root, path))
	return errors.Is(err, fs.ErrNotExist)
}

// flavour is the one for these rules. The legacy kind has the kernel look at all
// rules of a table whenever anybody changes one, and refuses that while a rule
// names a cgroup that is gone, as that of a unit that was stopped is: nobody,
// Docker included, could write there until the rule is taken off.
func (h host) flavour(r rules, forced Flavour) (Flavour, error) {
	fl, err := h.choose(forced)
	if err == nil && fl == Legacy && len(cgroupsOf(r.Rules)) > 0 {
		return "", fmt.Errorf("%w: with iptables-legacy a cgroup or unit that is named and goes away (%s) keeps everybody from changing the table that has its rule; tell processes by user or group, "+
			"keep the host's rules in iptables-nft, or use the nftables engine", redirect.ErrNotSupported, strings.Join(cgroupsOf(r.Rules), ", "))
	}
	return fl, err
}

// choose takes the flavour in which the host has more rules; where it has none,
// the one that we are in already; else nf_tables'.
func (h host) choose(forced Flavour) (Flavour, error) {
	if forced != "" {
		return forced, h.unusable[forced]
	}
	var best Flavour
	score := func(fl Flavour) (foreign int, ours bool) {
		both := h.held[fl]
		return both[ipv4].foreign + both[ipv6].foreign, both[ipv4].ours() || both[ipv6].ours()
	}
	var errs []error
	for _, fl := range flavours {
		if err := h.unusable[fl]; err != nil {
			errs = append(errs, err)
			continue
		}
		if best == "" {
			best = fl
			continue
		}
		a, _ := score(best)
		b, ours := score(fl)
		if b > a || a+b == 0 && ours {
			best = fl
		}
	}
	if best == "" {
		return "", errors.Join(errs...)
	}
	return best, nil
}
