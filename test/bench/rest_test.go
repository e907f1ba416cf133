//go:build linux

package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testmesh"
)

// BenchmarkAgentAtRest measures what an agent holds in memory (VmRSS) in a mesh
// of 200 services, and what part of a core it takes in ten seconds in which
// nothing changes.
func BenchmarkAgentAtRest(b *testing.B) {
	m := testmesh.New(b)
	var all strings.Builder
	for i := range 200 {
		fmt.Fprintf(&all, "type: Dataplane\nmesh: default\nname: s%d-1\nnetworking: {address: 192.0.2.%d, inbound: [{port: 8080, tags: {kuma.io/service: s%d, kuma.io/protocol: http}}]}\n---\n", i, i+1, i)
	}
	m.Apply(b, strings.TrimSuffix(all.String(), "---\n"))
	web := m.Join(b, "web")
	pid := web.AgentProgram().PID()
	for b.Loop() {
		before := ticks(b, pid)
		<-time.After(10 * time.Second)
		b.ReportMetric(float64(ticks(b, pid)-before)/10, "%-of-a-core") // a hundred a second
		b.ReportMetric(resident(b, pid), "agent-MB")
	}
}

// ticks is the processor time of a process, in hundredths of a second.
func ticks(b *testing.B, pid int) int {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	words := strings.Fields(rest)
	sum := 0
	for _, w := range words[11:13] { // utime and stime, proc(5)
		n, err := strconv.Atoi(w)
		if err != nil {
			b.Fatal(err)
		}
		sum += n
	}
	return sum
}
