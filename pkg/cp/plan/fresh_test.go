package plan

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// A plan that its view calls fresh is the plan that would be made anew, and a
// policy that concerns nobody else leaves everybody else's plan as it is.
func TestFreshPlansAreRight(t *testing.T) {
	left, asked := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		m := strictMesh()
		m.Now.Spec.(*mesh.MeshSpec).Networking = &mesh.Networking{Outbound: &mesh.NetworkingOutbound{PermittedOnly: rapid.Bool().Draw(t, "permittedOnly")}}
		changes := []store.Change{m}
		for i := range 6 {
			d := dataplane(fmt.Sprint("dp-", i), fmt.Sprint("192.0.2.", i+1), drawService.Draw(t, "service"))
			n := networking(d)
			n.Inbound[0].Tags["version"] = drawVersion.Draw(t, "version")
			n.Inbound[0].Tags[mesh.ProtocolTag] = "http"
			if rapid.Bool().Draw(t, "lists") {
				n.TransparentProxying = nil
				n.Outbound = []mesh.Outbound{{Port: 10001, Tags: mesh.Tags{mesh.ServiceTag: drawService.Draw(t, "calls")}}}
			}
			changes = append(changes, d)
		}
		for i := range rapid.IntRange(0, 8).Draw(t, "policies") {
			changes = append(changes, drawPolicy(t, fmt.Sprint("p-", i)))
		}
		before := state(changes...)
		views := map[string]*snapshot.View{}
		plans := map[string]string{}
		for _, r := range before.Mesh("default").Dataplanes() {
			v := snapshot.NewView(before.Mesh("default"))
			views[r.Meta.Name], plans[r.Meta.Name] = v, planned(t, v, r.Meta.Name)
		}
		// Several moments, so that a view that stays fresh moves on.
		for range 3 {
			c := drawPolicy(t, fmt.Sprint("p-", rapid.IntRange(0, 8).Draw(t, "which")))
			if rapid.IntRange(0, 3).Draw(t, "goes") == 0 {
				c.Now = nil
			}
			after := snapshot.Next(before, snapshot.Input{Changes: []store.Change{c}})
			step := snapshot.Between(before.Mesh("default"), after.Mesh("default")) // one for all, who may be alike
			before = after
			for name, v := range views {
				asked++
				if !v.After(step) {
					v = snapshot.NewView(before.Mesh("default"))
					views[name], plans[name] = v, planned(t, v, name)
					continue
				}
				left++
				if now := planned(t, snapshot.NewView(before.Mesh("default")), name); now != plans[name] {
					t.Fatalf("the plan of %s is said to be fresh, but would be another.\nwas %s\nis  %s", name, plans[name], now)
				}
			}
		}
	})
	if left*4 < asked {
		t.Errorf("of %d plans only %d were left alone", asked, left)
	}
}

var (
	drawService = rapid.SampledFrom([]string{"web", "api", "db"})
	drawVersion = rapid.SampledFrom([]string{"v1", "v2"})
)

func planned(t *rapid.T, v *snapshot.View, name string) string {
	c, warnings := For(v, name)
	b, err := json.Marshal([]any{c, warnings})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// drawSelector draws what a valid policy may have.
func drawSelector(t *rapid.T) []mesh.Selector {
	match := mesh.Tags{mesh.ServiceTag: rapid.SampledFrom([]string{"web", "api", "db", "*"}).Draw(t, "service")}
	if rapid.Bool().Draw(t, "versioned") {
		match["version"] = rapid.SampledFrom([]string{"v1", "v2", "*"}).Draw(t, "version")
	}
	return []mesh.Selector{{Match: match}}
}

func drawPolicy(t *rapid.T, name string) store.Change {
	kinds := []*mesh.Kind{
		mesh.TrafficPermissionKind, mesh.TrafficRouteKind, mesh.TimeoutKind, mesh.RateLimitKind, mesh.FaultInjectionKind, mesh.TrafficTraceKind,
		mesh.RetryKind, mesh.CircuitBreakerKind, mesh.TrafficLogKind,
	}
	kind := rapid.SampledFrom(kinds).Draw(t, "kind")
	from, to := drawSelector(t), drawSelector(t)
	service := slices.Clone(to)
	service[0] = mesh.Selector{Match: mesh.Tags{mesh.ServiceTag: to[0].Match.Service()}}
	number := uint32(rapid.IntRange(1, 3).Draw(t, "number"))
	// One name in one kind: what was of another kind under this name stays.
	name += "-" + kind.Path
	switch kind {
	case mesh.TrafficPermissionKind:
		return change(kind, name, &mesh.TrafficPermission{Sources: from, Destinations: to})
	case mesh.TrafficRouteKind:
		return change(kind, name, &mesh.TrafficRoute{Sources: from, Destinations: service, Conf: &mesh.TrafficRouteConf{Split: []mesh.RouteSplit{
			{Weight: number, Destination: mesh.Tags{mesh.ServiceTag: mesh.Any}},
			{Weight: 1, Destination: mesh.Tags{mesh.ServiceTag: drawService.Draw(t, "splits to"), "version": drawVersion.Draw(t, "of")}},
		}}})
	case mesh.TimeoutKind:
		return change(kind, name, &mesh.Timeout{Sources: from, Destinations: service, Conf: &mesh.TimeoutConf{ConnectTimeout: fmt.Sprintf("%ds", number)}})
	case mesh.RetryKind:
		return change(kind, name, &mesh.Retry{Sources: from, Destinations: service, Conf: &mesh.RetryConf{HTTP: &mesh.HTTPRetry{NumRetries: &number}}})
	case mesh.CircuitBreakerKind:
		return change(kind, name, &mesh.CircuitBreaker{Sources: from, Destinations: service, Conf: &mesh.CircuitBreakerConf{Thresholds: &mesh.Thresholds{MaxConnections: &number}}})
	case mesh.TrafficLogKind:
		return change(kind, name, &mesh.TrafficLog{Sources: from, Destinations: service, Conf: &mesh.TrafficLogConf{Backend: fmt.Sprint("log-", number)}})
	case mesh.RateLimitKind:
		return change(kind, name, &mesh.RateLimit{Sources: from, Destinations: to, Conf: mesh.RateLimitConf{HTTP: &mesh.HTTPRateLimit{Requests: number, Interval: "1s"}}})
	case mesh.FaultInjectionKind:
		percent := float64(number)
		return change(kind, name, &mesh.FaultInjection{Sources: from, Destinations: to, Conf: mesh.FaultConf{Abort: &mesh.FaultAbort{Percentage: &percent, HTTPStatus: 500}}})
	default:
		return change(kind, name, &mesh.TrafficTrace{Selectors: from, Conf: &mesh.TrafficTraceConf{Backend: fmt.Sprint("b-", number)}})
	}
}
