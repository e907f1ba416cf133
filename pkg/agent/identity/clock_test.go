package identity

import (
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/token"
)

// A host asks a control plane for its time, and learns by how much its own clock
// is wrong. The control plane does not take that for a host that it refused.
func TestAhead(t *testing.T) {
	for name, wrong := range map[string]time.Duration{"right": 0, "ahead": 90 * time.Minute, "behind": -2 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			i := w.joined(t, token.Claims{})
			i.Now = func() time.Time { return w.clock().Add(wrong) }
			ahead, within, err := i.Ahead(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if (ahead - wrong).Abs() > within+time.Millisecond {
				t.Errorf("the clock is said to be %s ahead, give or take %s; it is %s", ahead, within, wrong)
			}
			if log := w.log.String(); strings.Contains(log, "refused") {
				t.Errorf("the control plane's log has\n%s", log)
			}
		})
	}
}
