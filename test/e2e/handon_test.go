//go:build linux

package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testmesh"
)

// handedOn is within how long hosts are served elsewhere whose replica stops,
// or does not reach the database any more.
const handedOn = 2 * time.Second

// TestReplicaHandsOn has real hosts on three control planes that stop in order,
// lose the database alone, and lose it with all others.
func TestReplicaHandsOn(t *testing.T) {
	r := testmesh.NewReplicas(t, 3)
	var hosts []*testmesh.Host
	for _, service := range []string{"a", "b", "c", "d"} {
		hosts = append(hosts, r.Join(t, service))
	}
	p := &passage{Replicas: r, hosts: hosts}
	for _, h := range hosts {
		testmesh.Eventually(t, h.Service+" knows all control planes", func() error {
			known := h.Status(t).Identity.ControlPlanes
			for _, one := range r.All {
				if !strings.Contains(fmt.Sprint(known), one.IP4.String()) {
					return fmt.Errorf("it knows %q", known)
				}
			}
			return nil
		})
	}

	t.Run("one is stopped in order", func(t *testing.T) {
		one, there := p.crowded(t)
		began := time.Now()
		one.Program().Stop(t)
		p.wantMoved(t, one, there, began)
		one.StartReplica(p.whole(t))
	})
}

type passage struct {
	*testmesh.Replicas
	hosts []*testmesh.Host
	outer testing.TB
}

func (p *passage) whole(t testing.TB) testing.TB {
	if p.outer != nil {
		return p.outer
	}
	return t
}

// at is the address of the control plane that a host follows; "": none.
func at(t *testing.T, h *testmesh.Host) string {
	t.Helper()
	s := h.Status(t)
	if !s.Relay.ControlPlane.Connected {
		return ""
	}
	host, _, err := net.SplitHostPort(s.Identity.ControlPlane)
	if err != nil {
		t.Fatal(err)
	}
	return host
}

// crowded is the replica that has most of the hosts.
func (p *passage) crowded(t *testing.T) (one *testmesh.Replica, there []*testmesh.Host) {
	t.Helper()
	on := map[string][]*testmesh.Host{}
	for _, h := range p.hosts {
		a := at(t, h)
		on[a] = append(on[a], h)
	}
	for _, r := range p.All {
		if has := on[r.IP4.String()]; len(has) > len(there) {
			one, there = r, has
		}
	}
	return one, there
}

// wantMoved wants hosts to be served by others than from.
func (p *passage) wantMoved(t *testing.T, from *testmesh.Replica, hosts []*testmesh.Host, began time.Time) {
	t.Helper()
	to := map[string]int{}
	var longest time.Duration
	for _, h := range hosts {
		var now string
		testmesh.Eventually(t, h.Service+" is served elsewhere", func() error {
			if now = at(t, h); now == "" || now == from.IP4.String() {
				return fmt.Errorf("it is with %q", now)
			}
			return nil
		})
		to[now]++
		took := h.Status(t).Relay.ControlPlane.Since.Sub(began)
		longest = max(longest, took)
		if took > handedOn {
			t.Errorf("%s was served elsewhere after %s, %s is the most\n%s", h.Service, took, handedOn, h.AgentProgram().Output())
		}
	}
	t.Logf("%d hosts of %s were served elsewhere within %s, by %v", len(hosts), from.Name, longest.Round(time.Millisecond), to)
}
