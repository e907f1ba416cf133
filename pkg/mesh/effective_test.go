package mesh_test

import (
	"slices"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/mesh"
)

func TestParseExpiration(t *testing.T) {
	const day = 24 * time.Hour
	for s, want := range map[string]time.Duration{
		"1y": 365 * day, "2w": 14 * day, "7d": 7 * day, "24h": day, "90m": 90 * time.Minute, "5s": 5 * time.Second,
		"250ms": 250 * time.Millisecond, "0d": 0, "292y": 292 * 365 * day,
	} {
		if got, err := mesh.ParseExpiration(s); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "d", "1", "1.5d", "-1d", "1d12h", "1 d", "1D", "1us", "9999999999y", "99999999999999999999s", "1d\n"} {
		if d, err := mesh.ParseExpiration(s); err == nil {
			t.Errorf("%q: %v, want an error", s, d)
		}
	}
}

func TestMeshEffective(t *testing.T) {
	var none mesh.MeshSpec
	if none.Backend() != nil || !none.Passthrough() {
		t.Errorf("empty mesh: backend %v, passthrough %t; want none and true", none.Backend(), none.Passthrough())
	}
	no := false
	m := mesh.MeshSpec{
		MTLS: &mesh.MTLS{EnabledBackend: "b", Backends: []mesh.MTLSBackend{
			{Name: "a"},
			{Name: "b", Mode: mesh.Permissive, DpCert: &mesh.DpCert{Rotation: &mesh.CertRotation{Expiration: "2d"}}},
		}},
		Networking: &mesh.Networking{Outbound: &mesh.NetworkingOutbound{Passthrough: &no}},
	}
	b := m.Backend()
	if b != &m.MTLS.Backends[1] {
		t.Fatalf("backend %v, want b", b)
	}
	if !b.Permissive() || b.CertLifetime() != 48*time.Hour || m.Passthrough() {
		t.Errorf("permissive %t, lifetime %v, passthrough %t; want true, 48h, false", b.Permissive(), b.CertLifetime(), m.Passthrough())
	}
	for _, b := range []mesh.MTLSBackend{{}, {DpCert: &mesh.DpCert{}}, {DpCert: &mesh.DpCert{Rotation: &mesh.CertRotation{}}}} {
		if b.CertLifetime() != 168*time.Hour || b.Permissive() {
			t.Errorf("lifetime %v, permissive %t; want 168h, false", b.CertLifetime(), b.Permissive())
		}
	}
	m.MTLS.EnabledBackend = ""
	if m.Backend() != nil {
		t.Error("a backend is in force that nobody enabled")
	}
}

func TestDataplaneEffective(t *testing.T) {
	dp := mesh.Dataplane{Networking: mesh.DataplaneNetworking{
		Address: "192.0.2.1",
		Inbound: []mesh.Inbound{
			{Port: 80, Tags: mesh.Tags{"kuma.io/service": "web"}},
			{
				Name: "api", Port: 81, Address: "192.0.2.2", ServicePort: 8081, ServiceAddress: "127.0.0.1", State: mesh.StateNotReady,
				Tags: mesh.Tags{"kuma.io/service": "api", "kuma.io/protocol": "HTTP"},
			},
			{Port: 82, Address: "192.0.2.3", Protocol: "grpc", Health: &mesh.InboundHealth{}, Tags: mesh.Tags{"kuma.io/service": "api", "kuma.io/protocol": "http"}},
			{Port: 83, State: mesh.StateIgnored},
			{Port: 84, State: mesh.StateReady, Health: &mesh.InboundHealth{}},
		},
		Gateway: &mesh.Gateway{Tags: mesh.Tags{"kuma.io/service": "edge"}},
	}}
	type view struct {
		name, listen, service string
		port                  uint32
		protocol              string
		ready, ignored        bool
	}
	for i, want := range []view{
		{"80", "192.0.2.1", "192.0.2.1", 80, "tcp", true, false},
		{"api", "192.0.2.2", "127.0.0.1", 8081, "http", false, false},
		{"82", "192.0.2.3", "192.0.2.3", 82, "grpc", false, false},
		{"83", "192.0.2.1", "192.0.2.1", 83, "tcp", false, true},
		{"84", "192.0.2.1", "192.0.2.1", 84, "tcp", true, false},
	} {
		got := view{dp.InboundName(i), dp.InboundAddress(i), dp.ServiceAddress(i), dp.ServicePort(i), dp.Protocol(i), dp.Ready(i), dp.Ignored(i)}
		if got != want {
			t.Errorf("inbound %d: %+v, want %+v", i, got, want)
		}
	}
	if got, want := dp.Services(), []string{"api", "edge", "web"}; !slices.Equal(got, want) {
		t.Errorf("services %q, want %q", got, want)
	}
	if got := dp.AdvertisedAddress(); got != "192.0.2.1" {
		t.Errorf("advertised %s", got)
	}
	dp.Networking.AdvertisedAddress = "web.example.com"
	if got := dp.AdvertisedAddress(); got != "web.example.com" {
		t.Errorf("advertised %s", got)
	}
}

func TestSelectorMatches(t *testing.T) {
	tags := mesh.Tags{"kuma.io/service": "web", "version": "v1"}
	for _, c := range []struct {
		match mesh.Tags
		want  bool
	}{
		{nil, true},
		{mesh.Tags{"kuma.io/service": "web"}, true},
		{mesh.Tags{"kuma.io/service": "*", "version": "*"}, true},
		{mesh.Tags{"kuma.io/service": "api"}, false},
		{mesh.Tags{"kuma.io/service": "we"}, false},
		{mesh.Tags{"kuma.io/service": "web", "env": "*"}, false},
		{mesh.Tags{"env": ""}, false},
	} {
		if got := (mesh.Selector{Match: c.match}).Matches(tags); got != c.want {
			t.Errorf("%v matches %v: %t, want %t", c.match, tags, got, c.want)
		}
	}
}

func TestRankCompare(t *testing.T) {
	// From the widest to the narrowest.
	order := []mesh.Tags{
		{},
		{"a": "*"},
		{"a": "1"},
		{"a": "*", "b": "*"},
		{"a": "1", "b": "*"},
		{"a": "1", "b": "2"},
		{"a": "*", "b": "*", "c": "*"},
	}
	for i := range order {
		for j := range order {
			a, b := mesh.Selector{Match: order[i]}.Rank(), mesh.Selector{Match: order[j]}.Rank()
			got := a.Compare(b)
			if (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%v compared with %v: %d", order[i], order[j], got)
			}
		}
	}
	sum := mesh.Rank{Exact: 1, Wildcard: 2}.Plus(mesh.Rank{Exact: 3, Wildcard: 4})
	if sum != (mesh.Rank{Exact: 4, Wildcard: 6}) {
		t.Errorf("sum %+v", sum)
	}
}

func TestKRI(t *testing.T) {
	for want, r := range map[string]struct {
		r    mesh.Resource
		zone string
	}{
		"kri_m____default_":           {mesh.Resource{Kind: mesh.MeshKind, Meta: mesh.Meta{Name: "default"}}, ""},
		"kri_dp_default___web-1_":     {mesh.Resource{Kind: mesh.DataplaneKind, Meta: mesh.Meta{Mesh: "default", Name: "web-1"}}, ""},
		"kri_dp_default_east__web-1_": {mesh.Resource{Kind: mesh.DataplaneKind, Meta: mesh.Meta{Mesh: "default", Name: "web-1"}}, "east"},
		"":                            {mesh.Resource{Kind: mesh.TrafficPermissionKind, Meta: mesh.Meta{Mesh: "default", Name: "x"}}, ""},
	} {
		if got := r.r.KRI(r.zone); got != want {
			t.Errorf("KRI %q, want %q", got, want)
		}
	}
}

func TestKindLookups(t *testing.T) {
	for _, k := range mesh.Kinds {
		for _, arg := range []string{k.Name, k.Singular, k.Path} {
			if got, ok := mesh.KindByArg(arg); !ok || got != k {
				t.Errorf("KindByArg(%q) is not %s", arg, k.Name)
			}
		}
		if got, ok := mesh.KindByName(k.Name); !ok || got != k {
			t.Errorf("KindByName(%q) is not %s", k.Name, k.Name)
		}
		if got, ok := mesh.KindByPath(k.Path); !ok || got != k {
			t.Errorf("KindByPath(%q) is not %s", k.Path, k.Name)
		}
	}
	if got, _ := mesh.KindByArg("TRAFFIC-Permissions"); got != mesh.TrafficPermissionKind {
		t.Errorf("KindByArg in capitals: %v", got)
	}
	if _, ok := mesh.KindByName("mesh"); ok {
		t.Error("KindByName takes a name in another case")
	}
	if _, ok := mesh.KindByPath("nonsense"); ok {
		t.Error("KindByPath finds nonsense")
	}
}

// Every path, name and alias means one kind.
func TestKindsAreDistinct(t *testing.T) {
	seen := map[string]string{}
	for _, k := range mesh.Kinds {
		for _, s := range slices.Concat([]string{k.Name}, slices.Compact([]string{k.Singular, k.Path}), k.Aliases) {
			if other := seen[s]; other != "" && other != k.Name {
				t.Errorf("%q means both %s and %s", s, other, k.Name)
			}
			seen[s] = k.Name
		}
		if k.New() == nil || k.New() == k.New() {
			t.Errorf("%s: New does not make new specs", k.Name)
		}
	}
}
