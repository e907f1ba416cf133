//go:build linux

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testmesh"
)

// TestSmallAgent has an agent in a mesh of 200 services rest after its start: it
// has at most 30 MB in memory and takes next to no processor.
func TestSmallAgent(t *testing.T) {
	const most, busiest = 30, 0.003 // MB; of a core
	m := testmesh.New(t)
	m.ApplyServices(t, 200)
	web := m.Join(t, "web")
	pid := web.AgentProgram().PID()
	testmesh.Eventually(t, "the agent rests", func() error {
		if c := testmesh.CostOf(t, pid); c.Resident > most {
			return fmt.Errorf("%.1f MB in memory, %.1f of them anonymous", c.Resident, c.Anonymous)
		}
		return nil
	})
	before, began := testmesh.CostOf(t, pid), time.Now()
	<-time.After(10 * time.Second)
	after := testmesh.CostOf(t, pid)
	if busy := float64(after.CPU-before.CPU) / float64(time.Since(began)); busy > busiest {
		t.Errorf("at rest the agent takes %.2f %% of a core, want at most %.1f", busy*100, busiest*100)
	}
	if after.Resident > most {
		t.Errorf("at rest the agent has %.1f MB in memory, want at most %d", after.Resident, most)
	}
	t.Logf("%.1f MB in memory, %.1f of them anonymous; %s in 10 s", after.Resident, after.Anonymous, after.CPU-before.CPU)
}
