package plan

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// logged is a mesh of n services in which every call is logged.
func logged(n int) *snapshot.Mesh {
	m := strictMesh()
	m.Now.Spec.(*mesh.MeshSpec).Logging = &mesh.Logging{DefaultBackend: "f", Backends: []mesh.LoggingBackend{
		{Name: "f", Type: mesh.LogFile, Conf: &mesh.LoggingConf{Path: "/log"}},
	}}
	all := []mesh.Selector{{Match: mesh.Tags{mesh.ServiceTag: mesh.Any}}}
	changes := []store.Change{m, change(mesh.TrafficLogKind, "all", &mesh.TrafficLog{Sources: all, Destinations: all})}
	for i := range n {
		changes = append(changes, dataplane(fmt.Sprint("dp-", i), "192.0.2.1", fmt.Sprint("svc-", i)))
	}
	return state(changes...).Mesh("default")
}

// A line is made once for all services, and names the one that is called.
func TestLinesNameWhatIsCalled(t *testing.T) {
	c, warnings := For(snapshot.NewView(logged(20)), "dp-7")
	if len(warnings) > 0 || len(c.Outbounds) != 20 {
		t.Fatalf("%d outbounds, warnings %v", len(c.Outbounds), warnings)
	}
	for _, out := range c.Outbounds {
		if want := "192.0.2.1(svc-7)->%UPSTREAM_HOST%(" + out.Service + ") took"; len(out.AccessLogs) != 1 || !strings.Contains(out.AccessLogs[0].Format, want) {
			t.Errorf("calls of %s are logged as %+v", out.Service, out.AccessLogs)
		}
	}
	if logs := c.Transparent.AccessLogs; len(logs) != 1 || !strings.Contains(logs[0].Format, "(external) took") {
		t.Errorf("calls out of the mesh are logged as %+v", logs)
	}
}

// BenchmarkForLogged plans one proxy among 1,000 services that are all logged.
func BenchmarkForLogged(b *testing.B) {
	m := logged(1000)
	b.ReportAllocs()
	for b.Loop() {
		For(snapshot.NewView(m), "dp-500")
	}
}
