package plan

import (
	"fmt"
	"testing"

	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// ruled is a mesh of services with so many policies of each kind that is chosen
// for calls: half of them for one service each, half of them for all.
func ruled(services, policies int) *snapshot.Mesh {
	changes := []store.Change{strictMesh()}
	for i := range services {
		changes = append(changes, dataplane(fmt.Sprint("dp-", i), "192.0.2.1", fmt.Sprint("svc-", i)))
	}
	everything := []mesh.Selector{{Match: mesh.Tags{mesh.ServiceTag: mesh.Any}}}
	one := uint32(1)
	for i := range policies {
		to := everything
		if i%2 == 0 {
			to = []mesh.Selector{{Match: mesh.Tags{mesh.ServiceTag: fmt.Sprint("svc-", i)}}}
		}
		from := []mesh.Selector{{Match: mesh.Tags{mesh.ServiceTag: mesh.Any}}, {Match: mesh.Tags{mesh.ServiceTag: fmt.Sprint("svc-", 100+i)}}}
		name := fmt.Sprint("p-", i)
		changes = append(changes,
			change(mesh.TrafficRouteKind, name, &mesh.TrafficRoute{Sources: from, Destinations: to, Conf: &mesh.TrafficRouteConf{
				Destination: mesh.Tags{mesh.ServiceTag: mesh.Any},
			}}),
			change(mesh.TimeoutKind, name, &mesh.Timeout{Sources: from, Destinations: to, Conf: &mesh.TimeoutConf{ConnectTimeout: "1s"}}),
			change(mesh.RetryKind, name, &mesh.Retry{Sources: from, Destinations: to, Conf: &mesh.RetryConf{HTTP: &mesh.HTTPRetry{NumRetries: &one}}}),
			change(mesh.HealthCheckKind, name, &mesh.HealthCheck{Sources: from, Destinations: to, Conf: &mesh.HealthCheckConf{
				Interval: "1s", Timeout: "1s", UnhealthyThreshold: 1, HealthyThreshold: 1,
			}}),
			change(mesh.CircuitBreakerKind, name, &mesh.CircuitBreaker{Sources: from, Destinations: to, Conf: &mesh.CircuitBreakerConf{
				Thresholds: &mesh.Thresholds{MaxRequests: &one},
			}}),
		)
	}
	return state(changes...).Mesh("default")
}

// BenchmarkForRuled plans one proxy among 500 services, without policies and
// with 50 of each kind.
func BenchmarkForRuled(b *testing.B) {
	for _, policies := range []int{0, 2, 50} {
		b.Run(fmt.Sprint("policies=", policies), func(b *testing.B) {
			m := ruled(500, policies)
			b.ReportAllocs()
			for b.Loop() {
				For(snapshot.NewView(m), "dp-120")
			}
		})
	}
}

// What many policies cost grows with the services, not with both.
func TestManyPoliciesAreCheap(t *testing.T) {
	few, many := ruled(200, 2), ruled(200, 50)
	plan := func(m *snapshot.Mesh) float64 {
		return testing.AllocsPerRun(3, func() { For(snapshot.NewView(m), "dp-120") })
	}
	if a, b := plan(few), plan(many); b > a+1000 {
		t.Errorf("with 50 policies of each kind a plan makes %.0f allocations, with two %.0f", b, a)
	}
}
