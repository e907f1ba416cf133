//go:build linux

package nftables

import (
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/pkg/redirect/route"
)

// String is the ruleset in nft's language, as `nft -f` reads it; routes, which
// nft has no words for, are comments above.
func (rs ruleset) String() string {
	var b strings.Builder
	for _, p := range rs.routes {
		fmt.Fprintf(&b, "# %s\n", route.Nftables.Text("add", p))
	}
	for _, p := range rs.absent {
		fmt.Fprintf(&b, "# cgroup %s is not there, and is added when it comes\n", p)
	}
	fmt.Fprintf(&b, "table inet %s {\n", rs.table)
	for _, s := range rs.sets {
		fmt.Fprintf(&b, "\tset %s {\n", s.name)
		for line := range strings.SplitSeq(strings.TrimSuffix(s.declaration(), ";"), "; ") {
			fmt.Fprintf(&b, "\t\t%s\n", line)
		}
		if len(s.text) > 0 {
			fmt.Fprintf(&b, "\t\telements = { %s }\n", strings.Join(s.text, ", "))
		}
		b.WriteString("\t}\n")
	}
	for _, c := range rs.chains {
		fmt.Fprintf(&b, "\tchain %s {\n", c.name)
		if c.hooked() {
			fmt.Fprintf(&b, "\t\t%s\n", c.declaration())
		}
		for _, r := range c.rules {
			fmt.Fprintf(&b, "\t\t%s comment %q\n", r.text(), r.name)
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String()
}

func (r rule) text() string {
	words := make([]string, len(r.parts))
	for i, p := range r.parts {
		words[i] = p.text
	}
	return strings.Join(words, " ")
}
