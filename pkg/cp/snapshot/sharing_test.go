package snapshot

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// TestSharing tells for each kind of change which indexes are other ones
// afterwards, and that no others are.
func TestSharing(t *testing.T) {
	notReady := func(in mesh.Inbound) mesh.Inbound {
		in.State = mesh.StateNotReady
		return in
	}
	asking := func(w *writer, name string, tags ...string) store.Change {
		c := w.dataplane(name, "192.0.2.1", inbound("web", "kuma.io/protocol=http"))
		c.Now.Spec.(*mesh.Dataplane).Networking.Outbound = []mesh.Outbound{{Port: 1, Tags: inbound("api", tags...).Tags}}
		return c
	}
	tests := []struct {
		name   string
		change func(w *writer) store.Change
		want   []string
	}{
		{"a permission", func(w *writer) store.Change { return w.permission("p") }, []string{"permissions"}},
		{"a permission goes", func(w *writer) store.Change {
			return w.delete(mesh.TrafficPermissionKind, "default", "old")
		}, []string{"permissions"}},
		{"the mesh", func(w *writer) store.Change { return w.mesh("default") }, []string{"spec"}},
		{"another mesh", func(w *writer) store.Change { return w.mesh("other") }, nil},
		{"a secret", func(w *writer) store.Change { return w.put(mesh.SecretKind, "default", "s", &mesh.Secret{}) }, nil},
		{"one more endpoint", func(w *writer) store.Change {
			return w.dataplane("web-2", "192.0.2.9", inbound("web", "kuma.io/protocol=http"))
		}, []string{"instances web"}},
		{"an endpoint goes", func(w *writer) store.Change {
			return w.delete(mesh.DataplaneKind, "default", "api-2")
		}, []string{"instances api"}},
		{"an endpoint is not ready", func(w *writer) store.Change {
			return w.dataplane("api-2", "192.0.2.3", notReady(inbound("api")))
		}, []string{"instances api"}},
		{"the last endpoint is not ready", func(w *writer) store.Change {
			return w.dataplane("web-1", "192.0.2.1", notReady(inbound("web", "kuma.io/protocol=http")))
		}, []string{"web-1", "instances web"}},
		{"an endpoint's tag", func(w *writer) store.Change {
			return w.dataplane("api-2", "192.0.2.3", inbound("api", "version=v2"))
		}, []string{"instances api"}},
		{"the same again", func(w *writer) store.Change {
			return w.dataplane("web-1", "192.0.2.1", inbound("web", "kuma.io/protocol=http"))
		}, []string{"web-1"}},
		{"a protocol", func(w *writer) store.Change {
			return w.dataplane("web-1", "192.0.2.1", inbound("web", "kuma.io/protocol=grpc"))
		}, []string{"web-1", "services", "instances web"}},
		{"a service comes", func(w *writer) store.Change {
			return w.dataplane("db-1", "192.0.2.4", inbound("db"))
		}, []string{"services", "instances db"}},
		{"a service goes", func(w *writer) store.Change {
			return w.delete(mesh.DataplaneKind, "default", "web-1")
		}, []string{"web-1", "services", "instances web"}},
		{"an outbound for a service", func(w *writer) store.Change { return asking(w, "web-1") }, []string{"web-1"}},
		{"an outbound for a part of a service", func(w *writer) store.Change {
			return asking(w, "web-1", "version=v1")
		}, []string{"web-1", "instances api"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var w writer
			s := state(t, w.mesh("default"), w.permission("old"),
				w.dataplane("web-1", "192.0.2.1", inbound("web", "kuma.io/protocol=http")),
				w.dataplane("api-1", "192.0.2.2", inbound("api")),
				w.dataplane("api-2", "192.0.2.3", inbound("api")))
			next := Next(s, Input{Changes: []store.Change{test.change(&w)}})
			if d := cmp.Diff(test.want, others(s.Mesh("default"), next.Mesh("default"))); d != "" {
				t.Errorf("changed indexes (-want +got):\n%s", d)
			}
		})
	}
}

// others lists what has another pointer in b than in a.
func others(a, b *Mesh) (list []string) {
	note := func(name string, other bool) {
		if other {
			list = append(list, name)
		}
	}
	note("spec", a.Spec() != b.Spec())
	note("web-1", a.Dataplane("web-1") != b.Dataplane("web-1"))
	note("permissions", a.Policies(mesh.TrafficPermissionKind) != b.Policies(mesh.TrafficPermissionKind))
	note("services", a.Services() != b.Services())
	for _, service := range Changed(a, b) {
		note("instances "+service, a.Instances(service) != b.Instances(service))
	}
	return list
}

func TestChanged(t *testing.T) {
	var w writer
	a := state(t, w.mesh("default"), w.dataplane("1", "192.0.2.1", inbound("a")), w.dataplane("2", "192.0.2.2", inbound("b"))).Mesh("default")
	b := state(t, w.mesh("default"), w.dataplane("3", "192.0.2.1", inbound("b")), w.dataplane("4", "192.0.2.2", inbound("c"))).Mesh("default")
	for _, test := range []struct {
		name string
		from *Mesh
		to   *Mesh
		want []string
	}{
		{"nothing", nil, nil, nil},
		{"the same", a, a, nil},
		{"new", nil, a, []string{"a", "b"}},
		{"gone", b, nil, []string{"b", "c"}},
		{"all", a, b, []string{"a", "b", "c"}},
	} {
		if got := Changed(test.from, test.to); !slices.Equal(got, test.want) {
			t.Errorf("%s: changed %v, want %v", test.name, got, test.want)
		}
	}
}

func TestSubsetsAreCounted(t *testing.T) {
	var w writer
	ask := func(name, version string) store.Change {
		c := w.dataplane(name, "192.0.2.1", inbound("web"))
		c.Now.Spec.(*mesh.Dataplane).Networking.Outbound = []mesh.Outbound{
			{Port: 1, Tags: inbound("api", "version="+version).Tags},
			{Port: 2, Tags: inbound("api", "version="+version).Tags},
			{Port: 3, Tags: inbound("api").Tags},
		}
		return c
	}
	s := state(t, w.mesh("default"))
	for _, step := range []struct {
		change store.Change
		want   string
	}{
		{ask("1", "v1"), "[{kuma.io/service=api, version=v1}]"},
		{ask("2", "v1"), "[{kuma.io/service=api, version=v1}]"},
		{ask("2", "v0"), "[{kuma.io/service=api, version=v0} {kuma.io/service=api, version=v1}]"},
		{w.delete(mesh.DataplaneKind, "default", "1"), "[{kuma.io/service=api, version=v0}]"},
		{w.delete(mesh.DataplaneKind, "default", "2"), "[]"},
	} {
		s = Next(s, Input{Changes: []store.Change{step.change}})
		if got := fmt.Sprint(s.Mesh("default").Instances("api").Subsets()); got != step.want {
			t.Errorf("subsets %s, want %s", got, step.want)
		}
	}
	if s.Mesh("default").Instances("api") != nil {
		t.Error("a service that nobody offers and nobody asks for is kept")
	}
}

// Where a TrafficRoute leads is a cluster, whoever calls it, and leaves the
// services alone to which no route leads.
func TestRoutesMakeSubsets(t *testing.T) {
	var w writer
	tags := func(service string, more ...string) mesh.Tags { return inbound(service, more...).Tags }
	narrow := w.dataplane("web", "192.0.2.1", inbound("web"))
	narrow.Now.Spec.(*mesh.Dataplane).Networking.Outbound = []mesh.Outbound{{Port: 1, Tags: tags("api", "env=prod")}}
	s := state(t, w.mesh("default"), w.dataplane("api", "192.0.2.2", inbound("api", "version=v1")), w.dataplane("db", "192.0.2.3", inbound("db")))
	for _, step := range []struct {
		name    string
		change  store.Change
		changed string
		api     string
	}{
		{"a service", w.route("default", "r", "api", tags("api", "version=v1")), "[api]", "[{kuma.io/service=api, version=v1}]"},
		{"the same again", w.route("default", "s", "db", tags("api", "version=v1")), "[]", "[{kuma.io/service=api, version=v1}]"},
		{"what was called, of one service", w.route("default", "r", "api", tags("*", "version=v2")), "[api]", "[{kuma.io/service=api, version=v1} {kuma.io/service=api, version=v2}]"},
		{"what was called is narrow", narrow, "[api web]", "[{env=prod, kuma.io/service=api, version=v2} {env=prod, kuma.io/service=api} {kuma.io/service=api, version=v1} {kuma.io/service=api, version=v2}]"},
		{"the other route goes", w.delete(mesh.TrafficRouteKind, "default", "s"), "[api]", "[{env=prod, kuma.io/service=api, version=v2} {env=prod, kuma.io/service=api} {kuma.io/service=api, version=v2}]"},
		{"it is wide again", w.dataplane("web", "192.0.2.1", inbound("web")), "[api]", "[{kuma.io/service=api, version=v2}]"},
		{"what was called, of all", w.route("default", "r", "*", tags("*", "version=v2")), "[db web]", "[{kuma.io/service=api, version=v2}]"},
		{"a new service", w.dataplane("new", "192.0.2.4", inbound("new")), "[new]", "[{kuma.io/service=api, version=v2}]"},
		{"nobody's service", w.route("default", "r", "*", tags("canary")), "[api canary db new web]", "[]"},
		{"no route", w.delete(mesh.TrafficRouteKind, "default", "r"), "[canary]", "[]"},
	} {
		next := Next(s, Input{Changes: []store.Change{step.change}})
		if got := fmt.Sprint(Changed(s.Mesh("default"), next.Mesh("default"))); got != step.changed {
			t.Errorf("%s: the endpoints of %s moved, want %s", step.name, got, step.changed)
		}
		s = next
		if got := fmt.Sprint(s.Mesh("default").Instances("api").Subsets()); got != step.api {
			t.Errorf("%s: subsets %s, want %s", step.name, got, step.api)
		}
	}
}
