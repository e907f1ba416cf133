//go:build linux

package e2e

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/internal/testtime"
)

// newLife is a mesh whose host web calls api over HTTP/1.1 and rpc over gRPC,
// all the while that something befalls one of them.
func newLife(t *testing.T, args ...string) *life {
	t.Helper()
	return newLifeIn(t, testmesh.New(t), args...)
}

// newLifeIn is newLife in a mesh that is there.
func newLifeIn(t *testing.T, m *testmesh.Mesh, args ...string) *life {
	t.Helper()
	l := &life{Mesh: m}
	watch := testtime.Start(t)
	l.web = l.Join(t, "web", args...)
	l.joining = watch.Took()
	l.api = l.Join(t, "api", args...)
	l.rpc = l.Join(t, "rpc", append([]string{"--protocol", "grpc"}, args...)...)
	for _, h := range []*testmesh.Host{l.api, l.rpc} {
		testmesh.ServeMixed(t, h.Host, "127.0.0.1:8080")
		l.Allow(t, "web", h.Service)
	}
	l.web.WaitAnswer(t, "http://api.mesh/")
	l.load = testmesh.StartMixed(t, l.web, testmesh.Targets{HTTP: "api.mesh", GRPC: "rpc.mesh"})
	l.load.AwaitMore(t, 10)
	l.load.Take() // what failed before the permissions had arrived
	return l
}

type life struct {
	*testmesh.Mesh
	web, api, rpc *testmesh.Host
	load          *testmesh.Mixed
	steps         int
	joining       time.Duration // that web took
}

// step lets something befall the mesh under load, and wants no more than so
// many requests to fail.
func (l *life) step(t *testing.T, name string, most int, f func(t *testing.T)) {
	t.Helper()
	l.steps++
	ok := t.Run(fmt.Sprintf("%02d %s", l.steps, name), func(t *testing.T) {
		l.load.Take()
		f(t)
		l.load.AwaitMore(t, 20)
		got := l.load.Take()
		t.Logf("%d of %d requests failed\n%s", got.Failed(), got.Requests(), got)
		if got.Failed() > most {
			t.Errorf("%d requests failed, want %d", got.Failed(), most)
		}
	})
	if !ok {
		t.FailNow()
	}
}

var away = flag.Duration("life.away", 0, "how long TestLifeOfControlPlane has no control plane, beside the moment of each run; the experiment F01 asks for 10m")

const longestAway = 4 * time.Minute // of one step

func TestLifeOfControlPlane(t *testing.T) {
	l := newLife(t)
	l.step(t, "nothing", 0, func(t *testing.T) { l.load.AwaitMore(t, 100) })
	l.step(t, "control plane killed and restarted", 0, func(t *testing.T) {
		l.StopControlPlane(t)
		l.load.AwaitMore(t, 50)
		l.StartControlPlane(t)
		l.load.AwaitMore(t, 50)
	})
	if *away == 0 {
		return
	}
	l.StopControlPlane(t)
	for left := *away; left > 0; left -= longestAway { // a load ends by itself after a while
		l.load.Stop()
		l.load = testmesh.StartMixed(t, l.web, testmesh.Targets{HTTP: "api.mesh", GRPC: "rpc.mesh"})
		l.load.AwaitMore(t, 10)
		l.step(t, fmt.Sprintf("no control plane, %s to go", left), 0, func(t *testing.T) {
			over, look := time.After(min(left, longestAway)), time.NewTicker(time.Second)
			defer look.Stop()
			for on := true; on; {
				select {
				case <-over:
					on = false
				case <-look.C:
					if out, _ := l.web.Agent(t, "status"); !strings.Contains(out, "serving last-good since ") {
						t.Fatalf("status does not say what is served:\n%s", out)
					}
				}
			}
		})
	}
	l.step(t, "it is back", 0, func(t *testing.T) {
		l.StartControlPlane(t)
		for _, h := range []*testmesh.Host{l.web, l.api, l.rpc} {
			h.WaitWell(t)
		}
	})
}
