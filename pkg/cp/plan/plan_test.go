package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// change is a write of a resource in mesh default.
func change(kind *mesh.Kind, name string, spec mesh.Spec) store.Change {
	r := &mesh.Resource{Kind: kind, Meta: mesh.Meta{Mesh: "default", Name: name}, Spec: spec}
	if kind.Scope == mesh.Global {
		r.Meta.Mesh = ""
	}
	return store.Change{Key: r.Key(), Now: r}
}

func strictMesh() store.Change {
	return change(mesh.MeshKind, "default", &mesh.MeshSpec{MTLS: &mesh.MTLS{
		EnabledBackend: "ca-1", Backends: []mesh.MTLSBackend{{Name: "ca-1", Type: "builtin"}},
	}})
}

// dataplane makes one behind redirection.
func dataplane(name, address, service string) store.Change {
	return change(mesh.DataplaneKind, name, &mesh.Dataplane{Networking: mesh.DataplaneNetworking{
		Address:             address,
		Inbound:             []mesh.Inbound{{Port: 8080, ServiceAddress: "127.0.0.1", Tags: mesh.Tags{mesh.ServiceTag: service}}},
		TransparentProxying: &mesh.TransparentProxying{RedirectPortInbound: 15006, RedirectPortOutbound: 15001},
	}})
}

func networking(c store.Change) *mesh.DataplaneNetworking {
	return &c.Now.Spec.(*mesh.Dataplane).Networking
}

func state(changes ...store.Change) *snapshot.State {
	return snapshot.Next(snapshot.Empty(), snapshot.Input{Changes: changes})
}

var compareAddrs = cmpopts.EquateComparable(netip.AddrPort{}, netip.Addr{})

// An endpoint that comes, goes or fails moves the endpoints of its service and
// leaves every plan as it is, without planning it.
func TestEndpointsReplanNobody(t *testing.T) {
	changes := []store.Change{strictMesh()}
	for i := range 20 {
		changes = append(changes, dataplane(fmt.Sprint("web-", i), fmt.Sprint("192.0.2.", i), "web"))
	}
	changes = append(changes, dataplane("api-1", "198.51.100.1", "api"))
	s := state(changes...)

	views := map[string]*snapshot.View{}
	for _, r := range s.Mesh("default").Dataplanes() {
		v := snapshot.NewView(s.Mesh("default"))
		if c, _ := For(v, r.Meta.Name); len(c.Outbounds) != 2 {
			t.Fatalf("%s calls %d services, want 2", r.Meta.Name, len(c.Outbounds))
		}
		views[r.Meta.Name] = v
	}

	comes := dataplane("web-new", "192.0.2.200", "web")
	fails := dataplane("web-new", "192.0.2.200", "web")
	networking(fails).Inbound[0].State = mesh.StateNotReady
	goes := comes
	goes.Now = nil
	for _, step := range []struct {
		name    string
		change  store.Change
		members int
	}{{"comes", comes, 21}, {"fails", fails, 20}, {"recovers", comes, 21}, {"goes", goes, 20}} {
		next := snapshot.Next(s, snapshot.Input{Changes: []store.Change{step.change}})
		for name, v := range views {
			if !v.Fresh(next.Mesh("default")) {
				t.Errorf("an endpoint %s: the plan of %s is outdated", step.name, name)
			}
		}
		if got := snapshot.Changed(s.Mesh("default"), next.Mesh("default")); !slices.Equal(got, []string{"web"}) {
			t.Errorf("an endpoint %s: the endpoints of %v moved", step.name, got)
		}
		if got := len(Endpoints(next.Mesh("default"), "web")[0].Members); got != step.members {
			t.Errorf("an endpoint %s: %d members, want %d", step.name, got, step.members)
		}
		s = next
	}

	s = snapshot.Next(s, snapshot.Input{Changes: []store.Change{dataplane("db-1", "192.0.2.201", "db")}})
	for name, v := range views {
		if v.Fresh(s.Mesh("default")) {
			t.Errorf("a new service leaves the plan of %s as it is", name)
		}
	}
}

// A dataplane that names what it reaches is left alone by all other services.
func TestReachableServicesNarrowTheView(t *testing.T) {
	web := dataplane("web", "192.0.2.1", "web")
	networking(web).TransparentProxying.ReachableServices = []string{"api"}
	s := state(strictMesh(), web)
	v := snapshot.NewView(s.Mesh("default"))
	For(v, "web")

	s = snapshot.Next(s, snapshot.Input{Changes: []store.Change{dataplane("db", "192.0.2.2", "db")}})
	if !v.Fresh(s.Mesh("default")) {
		t.Error("a service that web does not reach outdates its plan")
	}
	s = snapshot.Next(s, snapshot.Input{Changes: []store.Change{dataplane("api", "192.0.2.3", "api")}})
	if v.Fresh(s.Mesh("default")) {
		t.Error("a service that web reaches has come, and its plan is said to be right")
	}
}

func TestNoSuchDataplane(t *testing.T) {
	v := snapshot.NewView(state(strictMesh()).Mesh("default"))
	if c, _ := For(v, "nobody"); c != nil {
		t.Errorf("planned %+v", c)
	}
	s := snapshot.Next(state(strictMesh()), snapshot.Input{Changes: []store.Change{dataplane("nobody", "192.0.2.1", "web")}})
	if v.Fresh(s.Mesh("default")) {
		t.Error("the dataplane has come, and the view still says that there is none")
	}
}

// A service must not be able to take the place of a cluster of the proxy's
// own: who called http://weft_sds.mesh would talk to the agent.
func TestOwnClustersCannotBeNamed(t *testing.T) {
	for _, service := range []string{proxy.SDSCluster, "weft_admin", "outbound:passthrough:ipv4", "localhost:8080"} {
		bad := dataplane("bad", "192.0.2.2", service)
		networking(bad).Outbound = []mesh.Outbound{
			{Port: 10001, Tags: mesh.Tags{mesh.ServiceTag: service}},
			{Port: 10002, Tags: mesh.Tags{mesh.ServiceTag: service, "version": "v1"}},
		}
		m := state(strictMesh(), dataplane("web", "192.0.2.1", "web"), bad).Mesh("default")
		for _, name := range []string{"web", "bad"} {
			c, warnings := For(snapshot.NewView(m), name)
			for _, cl := range c.Clusters {
				if cl.Service != "web" {
					t.Errorf("%s has a cluster %s", name, cl.Name)
				}
			}
			if len(warnings) == 0 || !strings.Contains(warnings[0].Part, service) {
				t.Errorf("%s is not told about %s: %v", name, service, warnings)
			}
		}
		if names := Names(m); len(names) != 1 || names[0].Name != "web.mesh" {
			t.Errorf("names %v", names)
		}
	}
}

// A service that is named like the cluster of a part of another one does not
// get that one's calls.
func TestClustersOfOneNameAreNotMixed(t *testing.T) {
	part := mesh.Tags{mesh.ServiceTag: "api", "version": "v1"}
	web := dataplane("web", "192.0.2.1", "web")
	networking(web).Outbound = []mesh.Outbound{{Port: 10001, Tags: part}}
	m := state(strictMesh(), web, dataplane("bad", "192.0.2.2", Cluster(part)), dataplane("api", "192.0.2.3", "api")).Mesh("default")
	c, warnings := For(snapshot.NewView(m), "web")
	for _, out := range c.Outbounds {
		if slices.Contains(out.Listen, netip.MustParseAddrPort("127.0.0.1:10001")) {
			t.Errorf("calls of %s go to %s", part, out.Service)
		}
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0].Text, Cluster(part)) {
		t.Errorf("warnings %v, want one about cluster %s", warnings, Cluster(part))
	}
}

func TestVIP(t *testing.T) {
	m := state(strictMesh(), dataplane("web", "192.0.2.1", "web")).Mesh("default")
	v4, v6 := VIP(m, "web")
	if !proxy.VIP4.Contains(v4) || !proxy.VIP6.Contains(v6) {
		t.Errorf("%s and %s are not of the ranges %s and %s", v4, v6, proxy.VIP4, proxy.VIP6)
	}
	c, _ := For(snapshot.NewView(m), "web")
	want := []netip.AddrPort{netip.AddrPortFrom(v4, 80), netip.AddrPortFrom(v6, 80)}
	if d := cmp.Diff(want, c.Outbounds[0].Listen, compareAddrs); d != "" {
		t.Errorf("listens (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]proxy.Name{{Name: "web.mesh", Addresses: []netip.Addr{v4, v6}}}, Names(m), compareAddrs); d != "" {
		t.Errorf("names (-want +got):\n%s", d)
	}
	if v4, v6 := VIP(m, "nobody"); v4.IsValid() || v6.IsValid() {
		t.Errorf("a service that is not there has %s and %s", v4, v6)
	}
}

// Where a listed outbound names a service that redirection brings too, it is
// one cluster with one more address.
func TestListedOutboundJoinsTheVirtualOne(t *testing.T) {
	web := dataplane("web", "192.0.2.1", "web")
	networking(web).Outbound = []mesh.Outbound{{Port: 10001, Tags: mesh.Tags{mesh.ServiceTag: "web"}}}
	m := state(strictMesh(), web).Mesh("default")
	c, _ := For(snapshot.NewView(m), "web")
	v4, v6 := VIP(m, "web")
	want := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:10001"), netip.AddrPortFrom(v4, 80), netip.AddrPortFrom(v6, 80)}
	if len(c.Outbounds) != 1 {
		t.Fatalf("%d outbounds, want 1", len(c.Outbounds))
	}
	if d := cmp.Diff(want, c.Outbounds[0].Listen, compareAddrs); d != "" {
		t.Errorf("listens (-want +got):\n%s", d)
	}
}

func TestPrincipal(t *testing.T) {
	tests := []struct {
		source mesh.Tags
		want   []string
		ok     bool
	}{
		{mesh.Tags{mesh.ServiceTag: "web"}, []string{"spiffe://default/web"}, true},
		{mesh.Tags{mesh.ServiceTag: "*"}, nil, true},
		{mesh.Tags{mesh.ServiceTag: "*", "b": "2", "a": "1", "c": "*"}, []string{"kuma://a/1", "kuma://b/2"}, true},
		{mesh.Tags{mesh.ServiceTag: "web", "kuma.io/zone": "z"}, []string{"kuma://kuma.io/zone/z", "spiffe://default/web"}, true},
		{mesh.Tags{}, nil, false},                             // asks for nothing
		{mesh.Tags{"a": "b/c"}, nil, false},                   // kuma://a/b/c is what tag a/b shows
		{mesh.Tags{mesh.ServiceTag: "web/admin"}, nil, false}, // no service has a path
	}
	for _, test := range tests {
		got, ok := principal("default", mesh.Selector{Match: test.source})
		if d := cmp.Diff(test.want, got.URIs); ok != test.ok || d != "" {
			t.Errorf("%s: ok %v (-want +got):\n%s", test.source, ok, d)
		}
	}
}

// A permission of which no source can be anybody lets nobody in.
func TestNoPrincipalIsNotEverybody(t *testing.T) {
	p := change(mesh.TrafficPermissionKind, "p", &mesh.TrafficPermission{
		Sources:      []mesh.Selector{{Match: mesh.Tags{"a": "b/c"}}, {}},
		Destinations: []mesh.Selector{{Match: mesh.Tags{mesh.ServiceTag: "web"}}},
	})
	m := state(strictMesh(), dataplane("web", "192.0.2.1", "web"), p).Mesh("default")
	c, warnings := For(snapshot.NewView(m), "web")
	if a := c.Inbounds[0].Access; a.Policy != "p" || len(a.Allow) != 0 {
		t.Errorf("access %+v", a)
	}
	if len(warnings) != 2 {
		t.Errorf("warnings %v, want one for each source", warnings)
	}
}

func TestCluster(t *testing.T) {
	tests := []struct {
		tags mesh.Tags
		want string
	}{
		{mesh.Tags{mesh.ServiceTag: "api"}, "api"},
		{mesh.Tags{mesh.ServiceTag: "api", "version": "v1"}, "api-9c106ec77db8279e"}, // printf kuma.io/service=api,version=v1, | sha256sum
	}
	for _, test := range tests {
		if got := Cluster(test.tags); got != test.want {
			t.Errorf("cluster of %s is %s, want %s", test.tags, got, test.want)
		}
	}
	// Else whoever wishes for the second would empty the first for everybody.
	if a, b := Cluster(mesh.Tags{mesh.ServiceTag: "api", "version": "v1"}), Cluster(mesh.Tags{mesh.ServiceTag: "api", "versio": "nv1"}); a == b {
		t.Errorf("two wishes share the cluster %s", a)
	}
}

// BenchmarkFor plans one proxy among 1,000 services.
func BenchmarkFor(b *testing.B) {
	changes := []store.Change{strictMesh()}
	for i := range 1000 {
		changes = append(changes, dataplane(fmt.Sprint("dp-", i), "192.0.2.1", fmt.Sprint("svc-", i)))
	}
	m := state(changes...).Mesh("default")
	b.ReportAllocs()
	for b.Loop() {
		For(snapshot.NewView(m), "dp-500")
	}
}
