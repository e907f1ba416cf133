package snapshot

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// However changes are cut into steps, the state at the end is the one that
// the surviving resources make in a single step; and no step changes the state
// before it.
func TestNextIsTheSameInAnySteps(t *testing.T) {
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		changes := randomChanges(rnd, 120)
		known := hosts("h0.example=192.0.2.100", "h1.example=::ffff:192.0.2.101")

		final := map[mesh.Key]store.Change{}
		stepped := Empty()
		for len(changes) > 0 {
			n := min(1+rnd.IntN(8), len(changes))
			in := Input{Changes: changes[:n]}
			switch rnd.IntN(4) {
			case 0:
				in.Hosts = map[string]netip.Addr{"h0.example": netip.MustParseAddr("192.0.2.200")}
			case 1:
				in.Hosts = known
			}
			before := dump(stepped)
			next := Next(stepped, in)
			if d := cmp.Diff(before, dump(stepped)); d != "" {
				t.Fatalf("seed %d: a step changed the state before it (-before +after):\n%s", seed, d)
			}
			stepped = next
			for _, c := range changes[:n] {
				final[c.Key] = c
			}
			changes = changes[n:]
		}
		stepped = Next(stepped, Input{Hosts: known})

		var once []store.Change
		for _, c := range final {
			once = append(once, c)
		}
		if d := cmp.Diff(dump(Next(Empty(), Input{Changes: once, Hosts: known})), dump(stepped)); d != "" {
			t.Fatalf("seed %d: (-at once +in steps):\n%s", seed, d)
		}
	}
}

// randomChanges writes and deletes a few resources over and over.
func randomChanges(rnd *rand.Rand, n int) (changes []store.Change) {
	var w writer
	pick := func(list ...string) string { return list[rnd.IntN(len(list))] }
	for range n {
		name, meshName := fmt.Sprint("n", rnd.IntN(6)), pick("default", "other")
		switch rnd.IntN(17) {
		case 0:
			changes = append(changes, w.mesh(meshName))
		case 1:
			changes = append(changes, w.delete(mesh.MeshKind, "", meshName))
		case 2:
			changes = append(changes, w.put(mesh.TrafficPermissionKind, meshName, name, &mesh.TrafficPermission{}))
		case 3:
			changes = append(changes, w.delete(mesh.TrafficPermissionKind, meshName, name))
		case 4:
			changes = append(changes, w.delete(mesh.DataplaneKind, meshName, name))
		case 5:
			changes = append(changes, w.put(mesh.SecretKind, meshName, name, &mesh.Secret{}))
		case 6:
			changes = append(changes, w.external(meshName, name, pick("pay", "api"), pick("pay.example:443", "web.mesh:8080", "192.0.2.9:80")))
		case 7:
			changes = append(changes, w.delete(mesh.ExternalServiceKind, meshName, name))
		case 8:
			changes = append(changes, w.virtual(meshName, name, pick("{{.v}}.{{.s}}.mesh", "{{.s}}.mesh", "pay.example"), pick("80", "8080")))
		case 9:
			changes = append(changes, w.delete(mesh.VirtualOutboundKind, meshName, name))
		case 10, 11:
			to := inbound(pick("web", "api", "nowhere", "*"), "version="+pick("v1", "v3", "*")).Tags
			changes = append(changes, w.route(meshName, name, pick("web", "api", "*"), to))
		case 12:
			changes = append(changes, w.delete(mesh.TrafficRouteKind, meshName, name))
		default:
			dp := &mesh.Dataplane{Networking: mesh.DataplaneNetworking{
				Address:           pick("192.0.2.1", "h0.example", "h1.example", "h2.example"),
				AdvertisedAddress: pick("", "", "198.51.100.1", "h1.example"),
			}}
			for i := range rnd.IntN(3) {
				in := inbound(pick("web", "api", "db"), "kuma.io/protocol="+pick("http", "grpc", "http2", "tcp"), "version="+pick("v1", "v2"))
				in.Port += uint32(i)
				in.State = pick("", mesh.StateReady, mesh.StateNotReady, mesh.StateIgnored)
				dp.Networking.Inbound = append(dp.Networking.Inbound, in)
			}
			for range rnd.IntN(3) {
				tags := inbound(pick("web", "api", "nowhere"), "version="+pick("v1", "v2")).Tags
				if rnd.IntN(2) == 0 {
					delete(tags, "version")
				}
				dp.Networking.Outbound = append(dp.Networking.Outbound, mesh.Outbound{Tags: tags})
			}
			changes = append(changes, w.put(mesh.DataplaneKind, meshName, name, dp))
		}
	}
	return changes
}

func TestMeshIsThereWithItsResource(t *testing.T) {
	var w writer
	s := state(t, w.dataplane("a", "192.0.2.1", inbound("web")))
	if s.Mesh("default") != nil || len(s.Meshes()) != 0 {
		t.Error("a dataplane made a mesh")
	}
	s = Next(s, Input{Changes: []store.Change{w.mesh("default")}})
	if m := s.Mesh("default"); m == nil || m.Dataplane("a") == nil {
		t.Error("the dataplane that came before its mesh is lost")
	}
	s = Next(s, Input{Changes: []store.Change{w.delete(mesh.MeshKind, "", "default")}})
	if s.Mesh("default") != nil || len(s.Meshes()) != 0 {
		t.Error("the mesh is still there after it was deleted")
	}
	s = Next(s, Input{Changes: []store.Change{w.delete(mesh.DataplaneKind, "default", "a")}})
	if len(s.meshes) != 0 {
		t.Error("an empty mesh is kept for ever")
	}
	if s.Version() != w.at {
		t.Errorf("version %d, want %d", s.Version(), w.at)
	}
}

func TestHosts(t *testing.T) {
	var w writer
	s := state(t, w.mesh("default"),
		w.dataplane("a", "a.example", inbound("web")),
		w.dataplane("b", "192.0.2.2", inbound("web")))
	if d := cmp.Diff([]string{"a.example"}, s.HostNames()); d != "" {
		t.Errorf("host names (-want +got):\n%s", d)
	}
	address := func() string {
		for i := range s.Mesh("default").Instances("web").All() {
			return i.Address.Addr().String()
		}
		return "none"
	}
	steps := []struct {
		name  string
		hosts map[string]netip.Addr
		want  string
	}{
		{"not known", nil, "invalid IP"},
		{"known", hosts("a.example=192.0.2.1"), "192.0.2.1"},
		{"unchanged", nil, "192.0.2.1"},
		{"moved", hosts("a.example=192.0.2.9"), "192.0.2.9"},
		{"another name", hosts("a.example=192.0.2.9", "c.example=192.0.2.1"), "192.0.2.9"},
		{"IPv4 in IPv6", hosts("a.example=::ffff:192.0.2.7"), "192.0.2.7"},
		{"forgotten", map[string]netip.Addr{}, "invalid IP"},
	}
	for _, step := range steps {
		s = Next(s, Input{Hosts: step.hosts})
		if got := address(); got != step.want {
			t.Errorf("%s: a is at %s, want %s", step.name, got, step.want)
		}
	}
	s = Next(s, Input{Changes: []store.Change{w.delete(mesh.DataplaneKind, "default", "a")}})
	if len(s.HostNames()) != 0 {
		t.Errorf("host names %v of nobody", s.HostNames())
	}
}

func TestInputMayBeReused(t *testing.T) {
	var w writer
	in := Input{
		Changes: []store.Change{w.mesh("default"), w.dataplane("a", "a.example", inbound("web"))},
		Hosts:   hosts("a.example=192.0.2.1"),
	}
	s := Next(Empty(), in)
	before := dump(s)
	in.Hosts["a.example"] = netip.MustParseAddr("192.0.2.66")
	clear(in.Changes)
	s = Next(s, Input{Changes: []store.Change{w.dataplane("b", "a.example", inbound("web"))}})
	s = Next(s, Input{Changes: []store.Change{w.delete(mesh.DataplaneKind, "default", "b")}})
	s.version = 2
	if d := cmp.Diff(before, dump(s)); d != "" {
		t.Errorf("the state reads its input's map (-want +got):\n%s", d)
	}
}
