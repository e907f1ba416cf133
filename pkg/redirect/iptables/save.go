//go:build linux

package iptables

import (
	"net/netip"
	"slices"
	"strings"
)

// A held is what one kind of iptables holds in one family, as it concerns us.
type held struct {
	tables map[string]*heldTable
	// foreign is how many rules others have.
	foreign int
	// otherVIPs are the ranges that other tables of ours want routed.
	otherVIPs []netip.Prefix
	// incompatible are tables that iptables cannot read, as somebody made
	// rules in them by nft.
	incompatible []string
}

// A heldTable is our part of one iptables table.
type heldTable struct {
	chains []heldChain
	jumps  []heldJump // rules anywhere else that lead to our chains
}

type heldChain struct {
	name  string
	rules []line
}

// A heldJump is a rule of a foreign chain that leads to one of ours.
type heldJump struct {
	line
	to string
	// behind is the foreign rule before it that may end a packet's way, if any.
	behind string
}

// A line is one "-A chain …" as iptables-save writes it.
type line struct {
	chain string
	spec  string // what follows the chain
	words []string
	dead  bool // it is about a cgroup that is gone
}

// bury marks our rules about cgroups that are gone.
func (h held) bury(gone func(path string) bool) {
	for _, t := range h.tables {
		for _, c := range t.chains {
			for i, r := range c.rules {
				path := r.after("--path")
				c.rules[i].dead = path != "" && gone(path)
			}
		}
	}
}

func (h held) ours() bool {
	for _, t := range h.tables {
		if len(t.chains)+len(t.jumps) > 0 {
			return true
		}
	}
	return false
}

// table is never nil.
func (h held) table(name string) *heldTable {
	if t := h.tables[name]; t != nil {
		return t
	}
	return new(heldTable)
}

func (t *heldTable) chain(name string) (heldChain, bool) {
	i := slices.IndexFunc(t.chains, func(c heldChain) bool { return c.name == name })
	if i < 0 {
		return heldChain{}, false
	}
	return t.chains[i], true
}

// parse reads what iptables-save wrote, for our table of that name. Lines that
// it does not know are other people's and skipped.
func parse(table, text string) held {
	h := held{tables: make(map[string]*heldTable)}
	var (
		now    *heldTable
		index  map[string]int    // of our chains
		ending map[string]string // the first rule of a foreign chain that may end a packet's way
	)
	for l := range strings.Lines(text) {
		l = strings.TrimRight(l, "\n")
		switch {
		case strings.HasPrefix(l, "# Table `") && strings.Contains(l, "is incompatible"):
			name, _, _ := strings.Cut(strings.TrimPrefix(l, "# Table `"), "'")
			h.incompatible = append(h.incompatible, name)
		case strings.HasPrefix(l, "*"):
			now, index, ending = new(heldTable), make(map[string]int), make(map[string]string)
			h.tables[l[1:]] = now
		case now == nil:
		case strings.HasPrefix(l, ":"):
			name, _, _ := strings.Cut(l[1:], " ")
			if _, _, ours := split(table, name); ours {
				index[name] = len(now.chains)
				now.chains = append(now.chains, heldChain{name: name})
			}
		case strings.HasPrefix(l, "-A "):
			r, ok := readLine(l)
			if !ok {
				continue
			}
			if i, ours := index[r.chain]; ours {
				now.chains[i].rules = append(now.chains[i].rules, r)
				continue
			}
			target := r.target()
			_, _, leadsToUs := split(table, target)
			switch {
			case leadsToUs:
				now.jumps = append(now.jumps, heldJump{line: r, to: target, behind: ending[r.chain]})
			case strings.HasPrefix(r.chain, prefixAll):
				if p, err := netip.ParsePrefix(strings.TrimPrefix(r.comment(), servicesRule)); err == nil {
					h.otherVIPs = append(h.otherVIPs, p)
				}
			case !strings.HasPrefix(target, prefixAll):
				h.foreign++
				if ending[r.chain] == "" && ends(r) {
					ending[r.chain] = r.spec
				}
			}
		}
	}
	return h
}

// endings are the targets after which a packet does not go on in the chain.
var endings = []string{"ACCEPT", "DROP", "REJECT", "RETURN", "QUEUE", "NFQUEUE", "DNAT", "REDIRECT", "NETMAP", "TPROXY"}

func ends(r line) bool {
	return slices.Contains(endings, r.target()) || slices.Contains(r.words, "-g")
}

func readLine(l string) (line, bool) {
	rest, _ := strings.CutPrefix(l, "-A ")
	chain, spec, _ := strings.Cut(rest, " ")
	words, ok := tokens(spec)
	return line{chain: chain, spec: spec, words: words}, ok
}

// after is the word after an option, or nothing.
func (l line) after(options ...string) string {
	for i, w := range l.words[:max(len(l.words)-1, 0)] {
		if slices.Contains(options, w) {
			return l.words[i+1]
		}
	}
	return ""
}

func (l line) target() string  { return l.after("-j", "-g") }
func (l line) comment() string { return l.after("--comment") }

// tokens splits as iptables does: double quotes hold words together, and a
// backslash within them takes the next character as it is.
func tokens(s string) ([]string, bool) {
	var (
		out             []string
		word            strings.Builder
		quoted, escaped bool
		begun           bool
	)
	for _, r := range s {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case quoted && r == '\\':
			escaped = true
		case r == '"':
			quoted, begun = !quoted, true
		case r == ' ' && !quoted:
			if begun {
				out = append(out, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	if begun {
		out = append(out, word.String())
	}
	return out, !quoted && !escaped
}

// spelling is the one form of a rule without its name: iptables of different
// versions order and pad the same rule differently.
func spelling(words []string) string {
	var out []string
	for i := 0; i < len(words); {
		var option strings.Builder
		if words[i] == "!" && i+1 < len(words) {
			option.WriteString("! ")
			i++
		}
		name := words[i]
		option.WriteString(name)
		i++
		for i < len(words) && words[i] != "!" && !strings.HasPrefix(words[i], "-") {
			option.WriteString(" " + strings.TrimSuffix(strings.TrimSuffix(words[i], "/128"), "/32"))
			i++
		}
		switch text := option.String(); {
		case name == "--comment", text == "-m comment":
		case text == "-m tcp", text == "-m udp": // said by -p
		case text == "-s 0.0.0.0/0", text == "-s ::/0", text == "-d 0.0.0.0/0", text == "-d ::/0": // says nothing
		case text == "--on-ip 0.0.0.0", text == "--on-ip ::", text == "--tproxy-mark 0x0/0x0":
		default:
			out = append(out, text)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}
