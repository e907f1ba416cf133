//go:build linux

// Package bench measures whole meshes. `make bench` prints the figures; none
// of them is a test.
package bench

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/weft-mesh/weft/internal/testmesh"
)

func TestMain(m *testing.M) { testmesh.Main(m) }

// BenchmarkAgentStart measures a host that has joined: from the start of its
// agent to the first answer that a program on it gets from a service of the
// mesh, called by name with curl every 20 ms. Then it reads what agent and
// Envoy hold in memory (VmRSS).
func BenchmarkAgentStart(b *testing.B) {
	m := testmesh.New(b)
	api := m.Join(b, "api")
	script := filepath.Join(b.TempDir(), "service.py")
	if err := os.WriteFile(script, []byte("import http.server\nhttp.server.test(http.server.SimpleHTTPRequestHandler, port=8080, bind='127.0.0.1')\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	testmesh.Start(b, api.Host, "python3", script)
	m.Allow(b, "web", "api")
	web := m.NewHost(b, "web")
	web.JoinMesh(b, m.JoinToken(b, "web"))
	var agent, envoy float64
	for b.Loop() {
		program := web.StartAgent(b)
		// Half a second at most: a query from before the redirection goes to a
		// server that is not there.
		web.WaitAnswer(b, "--max-time", "0.5", "http://api.mesh/")
		b.StopTimer()
		web.WaitWell(b)
		agent, envoy = testmesh.CostOf(b, program.PID()).Resident, testmesh.CostOf(b, web.Status(b).Envoy.PID).Resident
		program.Stop(b)
		// Not "redirect remove", which would stay.
		web.Run(b, "nft", "delete", "table", "inet", "weft")
		b.StartTimer()
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s-to-answer")
	b.ReportMetric(agent, "agent-MB")
	b.ReportMetric(envoy, "envoy-MB")
}
