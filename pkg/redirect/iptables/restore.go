//go:build linux

package iptables

import (
	"fmt"
	"slices"
	"strings"
)

// A wish is what one iptables table shall hold of ours, as text.
type wish struct {
	table  string
	chains []wishChain
	jumps  []string // "INPUT -p tcp … -j WEFT.weft.a.input"
}

type wishChain struct {
	name  string
	rules []string // what follows "-A chain"
}

// tables are those that we use.
var tables = []string{"filter", "raw", "mangle", "nat"}

// order is how tables change one after the other, so that in between each call
// still meets the proxy: refusals and zones are there before what needs them and
// go after it. Where inbound changes its method, REDIRECT and TPROXY are both
// there for a moment, and together do what each does alone.
func order(want []wish) []string {
	switch {
	case len(want) == 0:
		return []string{"nat", "mangle", "raw", "filter"}
	case slices.ContainsFunc(want, wish.rewrites):
		return []string{"filter", "raw", "nat", "mangle"}
	}
	return tables
}

// rewrites tells whether inbound connections are redirected by REDIRECT, and not
// only those that come by a bridge.
func (w wish) rewrites() bool {
	return w.table == "nat" && slices.ContainsFunc(w.chains, func(c wishChain) bool {
		return strings.HasSuffix(c.name, ".inbound") &&
			slices.ContainsFunc(c.rules, func(r string) bool { return strings.Contains(r, "-j REDIRECT") && !strings.Contains(r, byBridge) })
	})
}

// wishes writes sections out, in the generation that is not in force.
func wishes(table string, want []section, have held) []wish {
	var out []wish
	for _, s := range want {
		g := have.table(s.table).live(table).next()
		w := wish{table: s.table}
		for _, j := range s.jumps {
			w.jumps = append(w.jumps, j.spec(table, g))
		}
		for _, c := range s.chains {
			text := wishChain{name: chainName(table, g, c.role)}
			for _, r := range c.rules {
				text.rules = append(text.rules, r.spec(table, g))
			}
			w.chains = append(w.chains, text)
		}
		out = append(out, w)
	}
	return out
}

// as is the wish to have again what was held.
func as(have held) []wish {
	var out []wish
	for _, name := range tables {
		t := have.table(name)
		if len(t.chains)+len(t.jumps) == 0 {
			continue
		}
		w := wish{table: name}
		for _, c := range t.chains {
			text := wishChain{name: c.name}
			for _, r := range c.rules {
				text.rules = append(text.rules, r.spec)
			}
			w.chains = append(w.chains, text)
		}
		for _, j := range t.jumps {
			w.jumps = append(w.jumps, j.chain+" "+j.spec)
		}
		out = append(out, w)
	}
	return out
}

// restoreText is the input for iptables-restore that leads from what is held
// to what is wished: each table in one COMMIT. It is empty where nothing is to do.
func restoreText(want []wish, have held) string {
	var b strings.Builder
	for _, name := range order(want) {
		var w wish
		for _, one := range want {
			if one.table == name {
				w = one
			}
		}
		t := have.table(name)
		if len(w.chains)+len(w.jumps)+len(t.chains)+len(t.jumps) == 0 {
			continue
		}
		fmt.Fprintf(&b, "*%s\n", name)
		stays := make(map[string]bool)
		for _, c := range w.chains {
			fmt.Fprintf(&b, ":%s - [0:0]\n", c.name) // makes or empties it
			stays[c.name] = true
		}
		for _, c := range w.chains {
			for _, r := range c.rules {
				fmt.Fprintf(&b, "-A %s %s\n", c.name, r)
			}
		}
		for _, j := range t.jumps {
			fmt.Fprintf(&b, "-D %s %s\n", j.chain, j.spec)
		}
		for _, j := range w.jumps {
			hook, spec, _ := strings.Cut(j, " ")
			fmt.Fprintf(&b, "-I %s 1 %s\n", hook, spec)
		}
		for _, verb := range []string{"-F", "-X"} {
			for _, c := range t.chains {
				if !stays[c.name] {
					fmt.Fprintf(&b, "%s %s\n", verb, c.name)
				}
			}
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}

// live is the generation in force: the one that is jumped to, else one whose
// chains are there.
func (t *heldTable) live(table string) generation {
	for _, j := range t.jumps {
		if g, _, _ := split(table, j.to); g != "" {
			return g
		}
	}
	for _, c := range t.chains {
		if g, _, _ := split(table, c.name); g != "" {
			return g
		}
	}
	return genB // so that the first is a
}

// jumpName is the comment on jumps.
func jumpName(table string) string { return "weft: redirection of table " + table }

// spec is what follows "-A".
func (j jump) spec(table string, g generation) string {
	return join(j.hook, j.only, "-m comment --comment", quoted(jumpName(table)), "-j", chainName(table, g, j.role))
}

// spec is what follows "-A chain".
func (r rule) spec(table string, g generation) string {
	target, verb := r.target, "-j"
	if r.role != "" {
		target = chainName(table, g, r.role)
	}
	if r.forth {
		verb = "-g"
	}
	return join(r.match, "-m comment --comment", quoted(r.name), verb, target)
}

// quoted is text as iptables reads and writes it.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

func join(words ...string) string {
	return strings.Join(strings.Fields(strings.Join(words, " ")), " ")
}
