package agent

import (
	"strings"
	"time"

	"github.com/weft-mesh/weft/pkg/agent/relay"
)

// sinceLastGood adds to the control plane's check, while that is away, what the
// host goes on with.
func sinceLastGood(c Check, r relay.Status) Check {
	disk := r.Cache.ServingSince
	switch {
	case r.ControlPlane.Connected:
	case !disk.IsZero():
		c.Text += "; serving last-good since " + clock(disk) + ", from disk, where it is of " + clock(r.Cache.Saved)
	case r.Synced && !r.ControlPlane.Since.IsZero():
		c.Text += "; serving last-good since " + clock(r.ControlPlane.Since)
	}
	return c
}

func clock(t time.Time) string { return t.Local().Format(time.DateTime) }

// lastGoodChecks has a check where what is kept on disk needs somebody's eye.
func lastGoodChecks(r relay.Status, dir string) []Check {
	c := Check{Name: "last-good", OK: r.Cache.Fault == "", Remedy: "make room in " + dir + ", which must be writable and the agent's alone"}
	var texts []string
	if r.Cache.Fault != "" {
		texts = append(texts, "this host would not come back without a control plane: "+r.Cache.Fault)
	}
	for _, p := range r.Cache.PassedOver {
		texts = append(texts, "passed over "+p)
	}
	if len(texts) == 0 {
		return nil
	}
	c.Text = strings.Join(texts, "; ")
	return []Check{c}
}
