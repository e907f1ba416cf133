package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// A neighbour is another agent that runs in this network namespace.
type neighbour struct {
	PID       int            `json:"pid"`
	Dataplane string         `json:"dataplane"`
	Rules     redirect.Rules `json:"rules"`
}

// apart fails where another agent that runs here redirects what rules would,
// with all that they have in common. That of process own is passed over.
func apart(ctx context.Context, rules redirect.Rules, own int) error {
	others, err := neighbours(ctx, rules.Normal().Table)
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range others {
		if n.PID == own {
			continue
		}
		if both := rules.Overlap(n.Rules); len(both) > 0 {
			errs = append(errs, fmt.Errorf("only: the agent of dataplane %s (pid %d, table %s) redirects on this host already what this one would: %s; give each users, groups or units, and ports, of its own",
				n.Dataplane, n.PID, n.Rules.Table, strings.Join(both, ", ")))
		}
	}
	return errors.Join(errs...)
}
