package redirect

import (
	"context"
	"fmt"
	"strings"
)

// A Planner is a Redirector that tells what Apply would do now, and does
// nothing.
type Planner interface {
	Plan(ctx context.Context, r Rules) (Plan, error)
}

// A Plan is what Apply would send to this host as it is.
type Plan struct {
	// Differences are what Check tells. They can be more than Steps mend: that
	// the loopback device is down, say.
	Differences []Difference `json:"differences,omitempty"`
	// Steps are sent in this order. None: Apply would send nothing.
	Steps []Step `json:"steps,omitempty"`
}

// A Step takes effect whole or not at all.
type Step struct {
	By   string `json:"by"`   // whom it is sent to: "nf_tables", "rtnetlink", "ip6tables-nft-restore --noflush --wait=5"
	Text string `json:"text"` // in the language of nft, ip or iptables-restore, a line each
}

// String is a plan as whom its steps are sent to reads it; the rest, and
// routes, are comments.
func (p Plan) String() string {
	var b strings.Builder
	for _, d := range p.Differences {
		fmt.Fprintf(&b, "# differs: %s\n", d)
	}
	for i, s := range p.Steps {
		fmt.Fprintf(&b, "# step %d of %d, by %s\n", i+1, len(p.Steps), s.By)
		comment := ""
		if s.By == "rtnetlink" {
			comment = "# "
		}
		for l := range strings.Lines(s.Text) {
			b.WriteString(comment + l)
		}
	}
	if len(p.Steps) == 0 {
		b.WriteString("# no change: nothing would be sent\n")
	}
	return b.String()
}
