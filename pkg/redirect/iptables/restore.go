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
	jumps  []string // "INPUT -p tcp … -j WEFT.weft.input"
}

// A wishChain without a say about its rules stays as it is.
type wishChain struct {
	name  string
	rules []string // what follows "-A chain"
	stays bool
}

// tables are those that we use.
var tables = []string{"filter", "raw", "mangle", "nat"}

// prepared wishes a generation beside what is in force, which stays so.
func prepared(table string, want []section, g generation, have held) []wish {
	var out []wish
	for _, name := range tables {
		t, w := have.table(name), wish{table: name}
		i := slices.IndexFunc(want, func(s section) bool { return s.table == name })
		if i >= 0 {
			w.jumps = want[i].gates(table)
			w.chains = want[i].written(table, g)
		}
		for _, c := range t.chains {
			if other, role, _ := split(table, c.name); other == g.next() && role != "" {
				w.chains = append(w.chains, c.living())
			}
		}
		kept := slices.Clone(w.chains)
		for _, j := range t.jumps {
			other, role, _ := split(table, j.to)
			led := slices.ContainsFunc(w.jumps, func(text string) bool { l, _ := readJump(text); return l.to == j.to })
			lives := slices.ContainsFunc(kept, func(c wishChain) bool { return c.name == chainName(table, g.next(), role) })
			if !led && lives && other != g { // other is no generation, or live's, of a version that had no gates
				w.jumps = append(w.jumps, j.chain+" "+j.spec)
			}
		}
		w.chains = append(w.chains, gateChains(table, w)...)
		out = append(out, w)
	}
	return out
}

// living wishes a chain as it is but for rules about cgroups that are gone. They
// match nobody, and the legacy kind, which has the kernel look at all rules of a
// table whenever one changes, takes nothing more while they are there.
func (c heldChain) living() wishChain {
	w := wishChain{name: c.name, stays: true}
	for _, r := range c.rules {
		if r.dead {
			w.stays = false
			continue
		}
		w.rules = append(w.rules, r.spec)
	}
	if w.stays {
		w.rules = nil
	}
	return w
}

// settled wishes a generation alone, whose chains are there.
func settled(table string, want []section, g generation) []wish {
	var out []wish
	for _, s := range want {
		w := wish{table: s.table, jumps: s.gates(table)}
		for _, c := range s.chains {
			w.chains = append(w.chains, wishChain{name: chainName(table, g, c.role), stays: true})
		}
		w.chains = append(w.chains, gateChains(table, w)...)
		out = append(out, w)
	}
	return out
}

// gates are the jumps to them, as text.
func (s section) gates(table string) (out []string) {
	for _, j := range s.jumps {
		out = append(out, j.spec(table))
	}
	return out
}

// written are a section's chains, as text.
func (s section) written(table string, g generation) (out []wishChain) {
	for _, c := range s.chains {
		text := wishChain{name: chainName(table, g, c.role)}
		for _, r := range c.rules {
			text.rules = append(text.rules, r.spec(table, g))
		}
		out = append(out, text)
	}
	return out
}

// gateChains are the gates that a wish's jumps lead to. Each leads to the
// generations that have a chain of its role.
func gateChains(table string, w wish) (out []wishChain) {
	for _, j := range w.jumps {
		l, _ := readLine("-A " + j)
		g, role, _ := split(table, l.target())
		if g != "" {
			continue
		}
		gate := wishChain{name: gateName(table, role)}
		for _, g := range generations {
			if slices.ContainsFunc(w.chains, func(c wishChain) bool { return c.name == chainName(table, g, role) }) {
				gate.rules = append(gate.rules, gateRule(table, role, g))
			}
		}
		out = append(out, gate)
	}
	return out
}

// gateRule leads to a generation while its set has all packets.
func gateRule(table, role string, g generation) string {
	return join("-m set --match-set", setName(table, string(g)), "dst -m comment --comment", quoted(fmt.Sprintf("weft: while generation %s is on", g)), "-g", chainName(table, g, role))
}

// wished is what is held when a wish has come true.
func wished(want []wish, have held) held {
	out := held{tables: make(map[string]*heldTable)}
	for _, w := range want {
		t := new(heldTable)
		for _, c := range w.chains {
			is := heldChain{name: c.name}
			if c.stays {
				is, _ = have.table(w.table).chain(c.name)
			}
			for _, r := range c.rules {
				l, _ := readLine("-A " + c.name + " " + r)
				is.rules = append(is.rules, l)
			}
			t.chains = append(t.chains, is)
		}
		for _, j := range w.jumps {
			l, _ := readJump(j)
			t.jumps = append(t.jumps, l)
		}
		out.tables[w.table] = t
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
				if !r.dead {
					text.rules = append(text.rules, r.spec)
				}
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
	for _, name := range tables {
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
			if !c.stays {
				fmt.Fprintf(&b, ":%s - [0:0]\n", c.name) // makes or empties it
			}
			stays[c.name] = true
		}
		for _, c := range w.chains {
			for _, r := range c.rules {
				fmt.Fprintf(&b, "-A %s %s\n", c.name, r)
			}
		}
		lost, lacking := t.jumping(w.jumps)
		for _, j := range lost {
			fmt.Fprintf(&b, "-D %s %s\n", j.chain, j.spec)
		}
		for _, j := range slices.Backward(lacking) { // so that the first is above the others
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

// jumping parts jumps that are held from those that are wished; what is both, and
// first in its chain, is in neither.
func (t *heldTable) jumping(wished []string) (lost []heldJump, lacking []string) {
	stays := make([]bool, len(t.jumps))
	for _, text := range wished {
		w, _ := readJump(text)
		i := slices.IndexFunc(t.jumps, func(h heldJump) bool {
			return h.chain == w.chain && h.behind == "" && spelling(h.words) == spelling(w.words)
		})
		if i < 0 || stays[i] {
			lacking = append(lacking, text)
			continue
		}
		stays[i] = true
	}
	for i, j := range t.jumps {
		if !stays[i] {
			lost = append(lost, j)
		}
	}
	return lost, lacking
}

// goals are the chains that jumps lead to.
func (t *heldTable) goals() (out []string) {
	for _, j := range t.jumps {
		out = append(out, j.to)
	}
	return out
}

func (t *heldTable) names() (out []string) {
	for _, c := range t.chains {
		out = append(out, c.name)
	}
	return out
}

// jumpName is the comment on jumps to gates.
func jumpName(table string) string { return "weft: redirection of table " + table }

// spec is what follows "-A".
func (j jump) spec(table string) string {
	return join(j.hook, j.only, "-m comment --comment", quoted(jumpName(table)), "-j", gateName(table, j.role))
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
