//go:build linux

package bench

import (
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testmesh"
)

// BenchmarkAgentAtRest measures what an agent has in memory in a mesh of 200
// services (VmRSS), what part of that is anonymous (RssAnon; the rest is the
// program's file), and what part of a core it takes in ten seconds in which
// nothing changes.
func BenchmarkAgentAtRest(b *testing.B) {
	m := testmesh.New(b)
	m.ApplyServices(b, 200)
	web := m.Join(b, "web")
	pid := web.AgentProgram().PID()
	<-time.After(10 * time.Second) // its start is over
	for b.Loop() {
		before := testmesh.CostOf(b, pid)
		<-time.After(10 * time.Second)
		now := testmesh.CostOf(b, pid)
		b.ReportMetric((now.CPU-before.CPU).Seconds()/10*100, "%-of-a-core")
		b.ReportMetric(now.Resident, "agent-MB")
		b.ReportMetric(now.Anonymous, "agent-anonymous-MB")
	}
}
