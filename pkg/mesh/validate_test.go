package mesh_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// lines prints violations as their readers see them.
func lines(v mesh.Violations) string {
	var b strings.Builder
	for _, w := range v {
		b.WriteString(w.Field + ": " + w.Reason + "\n")
	}
	return b.String()
}

func TestDataplaneValidate(t *testing.T) {
	web := mesh.Tags{"kuma.io/service": "web"}
	inbound := func(change func(*mesh.Inbound)) mesh.DataplaneNetworking {
		in := mesh.Inbound{Port: 8080, Tags: web}
		change(&in)
		return mesh.DataplaneNetworking{Address: "192.0.2.1", Inbound: []mesh.Inbound{in}}
	}
	outbound := func(o mesh.Outbound) mesh.DataplaneNetworking {
		n := inbound(func(*mesh.Inbound) {})
		n.Outbound = []mesh.Outbound{o}
		return n
	}
	gateway := func(g mesh.Gateway) mesh.DataplaneNetworking {
		return mesh.DataplaneNetworking{Address: "192.0.2.1", Gateway: &g}
	}
	const tag = `networking.inbound[0].tags["kuma.io/service"]`
	for _, c := range []struct {
		name string
		dp   mesh.Dataplane
		want string // "" is valid; else what a line of the violations begins with, all of them in order
	}{
		{"smallest", mesh.Dataplane{Networking: inbound(func(*mesh.Inbound) {})}, ""},
		{"dns name", mesh.Dataplane{Networking: mesh.DataplaneNetworking{Address: "host-1.example.com", Inbound: []mesh.Inbound{{Port: 1, Tags: web}}}}, ""},
		{"ipv6", mesh.Dataplane{Networking: mesh.DataplaneNetworking{Address: "2001:db8::1", Inbound: []mesh.Inbound{{Port: 65535, Tags: web}}}}, ""},
		{"nothing", mesh.Dataplane{}, "networking.address: address must not be empty\nnetworking.inbound: must have at least one"},
		{"recorded case", mesh.Dataplane{Networking: mesh.DataplaneNetworking{Inbound: []mesh.Inbound{
			{Port: 0, Tags: mesh.Tags{"version": "v1"}},
			{Port: 70000, Tags: mesh.Tags{"kuma.io/service": "a b"}},
		}}}, "networking.address: address must not be empty\n" +
			"networking.inbound[0].port: port must be in the range [1, 65535]\n" +
			tag + ": tag has to exist\n" +
			"networking.inbound[1].port: port must be in the range [1, 65535]\n" +
			`networking.inbound[1].tags["kuma.io/service"]: tag value must consist of`},
		{"address is an ip gone wrong", mesh.Dataplane{Networking: mesh.DataplaneNetworking{Address: "300.1.1.1", Inbound: []mesh.Inbound{{Port: 1, Tags: web}}}}, `networking.address: "300.1.1.1" is neither`},
		{"address is unspecified", mesh.Dataplane{Networking: mesh.DataplaneNetworking{Address: "::", AdvertisedAddress: "0.0.0.0", Inbound: []mesh.Inbound{{Port: 1, Tags: web}}}}, "networking.address: must not be ::\nnetworking.advertisedAddress: must not be 0.0.0.0"},
		{"no tags", mesh.Dataplane{Networking: inbound(func(i *mesh.Inbound) { i.Tags = nil })}, tag + ": tag has to exist"},
		{"empty tag value", mesh.Dataplane{Networking: inbound(func(i *mesh.Inbound) { i.Tags = mesh.Tags{"kuma.io/service": ""} })}, tag + ": tag value must not be empty"},
		{"service of dots", mesh.Dataplane{Networking: inbound(func(i *mesh.Inbound) { i.Tags = mesh.Tags{"kuma.io/service": ".."} })}, tag + ": a service's name"},
		{"bad tag key", mesh.Dataplane{Networking: inbound(func(i *mesh.Inbound) { i.Tags = mesh.Tags{"kuma.io/service": "a", "b c": "d"} })}, `networking.inbound[0].tags["b c"]: tag key must consist`},
		{"protocol in capitals", mesh.Dataplane{Networking: inbound(func(i *mesh.Inbound) {
			i.Protocol = "GRPC"
			i.Tags = mesh.Tags{"kuma.io/service": "a", "kuma.io/protocol": "HTTP"}
		})}, ""},
		{"unknown protocols", mesh.Dataplane{Networking: inbound(func(i *mesh.Inbound) {
			i.Protocol = "quic"
			i.Tags = mesh.Tags{"kuma.io/service": "a", "kuma.io/protocol": "x"}
		})}, `networking.inbound[0].protocol: "quic" is not one of tcp, tls, http, http2, grpc, kafka` + "\n" + `networking.inbound[0].tags["kuma.io/protocol"]: "x" is not one of`},
		{"inbound address", mesh.Dataplane{Networking: inbound(func(i *mesh.Inbound) { i.Address = "web.local" })}, `networking.inbound[0].address: "web.local" is not an IP address`},
		{"service port", mesh.Dataplane{Networking: inbound(func(i *mesh.Inbound) { i.ServicePort = 65536 })}, "networking.inbound[0].servicePort: port must be in the range [0, 65535]"},
		{"workload where the proxy is", mesh.Dataplane{Networking: inbound(func(i *mesh.Inbound) { i.ServiceAddress = "192.0.2.1" })}, "networking.inbound[0].serviceAddress: is where the proxy itself listens"},
		{"workload beside the proxy", mesh.Dataplane{Networking: inbound(func(i *mesh.Inbound) { i.ServiceAddress = "192.0.2.1"; i.ServicePort = 81 })}, ""},
		{"workload on loopback", mesh.Dataplane{Networking: inbound(func(i *mesh.Inbound) { i.ServiceAddress = "127.0.0.1" })}, ""},
		{"state", mesh.Dataplane{Networking: inbound(func(i *mesh.Inbound) { i.State = "ready" })}, `networking.inbound[0].state: "ready" is not one of Ready, NotReady, Ignored`},
		{"service probe", mesh.Dataplane{Networking: inbound(func(i *mesh.Inbound) { i.ServiceProbe = &mesh.ServiceProbe{Interval: "1", Timeout: "-1s"} })}, "networking.inbound[0].serviceProbe.interval: \"1\" is not a duration\nnetworking.inbound[0].serviceProbe.timeout: must be longer"},
		{"name twice", mesh.Dataplane{Networking: mesh.DataplaneNetworking{Address: "192.0.2.1", Inbound: []mesh.Inbound{{Name: "a", Port: 1, Tags: web}, {Name: "a", Port: 2, Tags: web}}}}, `networking.inbound[1].name: "a" is the name of networking.inbound[0]`},
		{"outbound", mesh.Dataplane{Networking: outbound(mesh.Outbound{Port: 10080, Tags: mesh.Tags{"kuma.io/service": "api"}})}, ""},
		{"empty outbound", mesh.Dataplane{Networking: outbound(mesh.Outbound{Address: "x y"})}, "networking.outbound[0].port: port must be in\nnetworking.outbound[0].address: \"x y\"\nnetworking.outbound[0].tags[\"kuma.io/service\"]: tag has to exist"},
		{"backend", mesh.Dataplane{Networking: outbound(mesh.Outbound{Port: 1, BackendRef: &mesh.OutboundRef{Kind: "MeshService", Name: "a", Port: 80}})}, ""},
		{"backend and tags", mesh.Dataplane{Networking: outbound(mesh.Outbound{Port: 1, Tags: web, BackendRef: &mesh.OutboundRef{Kind: "Service"}})}, "networking.outbound[0].tags: must be left out\nnetworking.outbound[0].backendRef.kind: \"Service\" is not one of\nnetworking.outbound[0].backendRef.name: must be given\nnetworking.outbound[0].backendRef.port: port must be"},
		{"delegated gateway", mesh.Dataplane{Networking: gateway(mesh.Gateway{Tags: web})}, ""},
		{"gateway without service", mesh.Dataplane{Networking: gateway(mesh.Gateway{Type: "X", Tags: mesh.Tags{"kuma.io/protocol": "http"}})}, "networking.gateway.type: \"X\" is not one of DELEGATED, BUILTIN\nnetworking.gateway.tags[\"kuma.io/service\"]: tag has to exist\nnetworking.gateway.tags[\"kuma.io/protocol\"]: a gateway's protocol"},
		{"builtin gateway with everything", mesh.Dataplane{
			Probes: &mesh.Probes{Port: 9000},
			Networking: mesh.DataplaneNetworking{
				Address: "192.0.2.1", Gateway: &mesh.Gateway{Type: mesh.Builtin, Tags: web},
				Inbound:   []mesh.Inbound{{Port: 1, Tags: web}},
				Outbound:  []mesh.Outbound{{Port: 2, Tags: web}},
				Listeners: []mesh.Listener{{Type: "ZoneEgress", Address: "192.0.2.1", Port: 3}},
			},
		}, "networking.inbound: a BUILTIN gateway\nnetworking.outbound: a BUILTIN\nprobes: a BUILTIN\nnetworking.listeners: a BUILTIN"},
		{"ports for the proxy", mesh.Dataplane{
			Probes: &mesh.Probes{Port: 8080, Endpoints: []mesh.ProbeEndpoint{{InboundPath: "x"}}},
			Networking: mesh.DataplaneNetworking{
				Address:  "192.0.2.1",
				Inbound:  []mesh.Inbound{{Port: 8080, Tags: web}},
				Outbound: []mesh.Outbound{{Port: 9901, Tags: web}},
				Admin:    &mesh.DataplaneAdmin{Port: 9901},
			},
		}, "networking.admin.port: 9901 is the port of networking.outbound[0]\nprobes.port: 8080 is the port of networking.inbound[0]\nprobes.endpoints[0].inboundPort: port must be\nprobes.endpoints[0].inboundPath: must begin\nprobes.endpoints[0].path: must begin"},
		{"transparent proxy", mesh.Dataplane{Networking: func() mesh.DataplaneNetworking {
			n := inbound(func(*mesh.Inbound) {})
			n.TransparentProxying = &mesh.TransparentProxying{RedirectPortInbound: 70000, RedirectPortOutbound: 15001, IPFamilyMode: "ipv4"}
			return n
		}()}, "networking.transparentProxing.redirectPortInbound: port must be in the range [0, 65535]\nnetworking.transparentProxing.ipFamilyMode: \"ipv4\" is not one of"},
		{"listeners", mesh.Dataplane{Networking: mesh.DataplaneNetworking{
			Address: "192.0.2.1",
			Inbound: []mesh.Inbound{{Port: 8080, Tags: web}},
			Listeners: []mesh.Listener{
				{Type: "ZoneIngress", Address: "192.0.2.1", Port: 8080, Name: "8080"},
				{},
			},
		}}, "networking.listeners[0].name: \"8080\" is the name of networking.inbound[0]\nnetworking.listeners[0].port: networking.inbound[0] listens on\n" +
			"networking.listeners[1].type: must be\nnetworking.listeners[1].address: address must\nnetworking.listeners[1].port: port must"},
	} {
		t.Run(c.name, func(t *testing.T) { matchLines(t, c.dp.Validate(), c.want) })
	}
}

// matchLines wants one violation for each line of want, which begins it.
func matchLines(t *testing.T, v mesh.Violations, want string) {
	t.Helper()
	got := strings.Split(strings.TrimSuffix(lines(v), "\n"), "\n")
	wants := strings.Split(want, "\n")
	for i, w := range wants {
		if len(got) != len(wants) || !strings.HasPrefix(got[i], w) || (w == "") != (got[i] == "") {
			t.Fatalf("violations:\n%swant them to begin:\n%s", lines(v), want)
		}
	}
}

func TestMeshValidate(t *testing.T) {
	one := func(change func(*mesh.MTLSBackend)) *mesh.MTLS {
		b := mesh.MTLSBackend{Name: "ca-1", Type: "builtin"}
		change(&b)
		return &mesh.MTLS{EnabledBackend: b.Name, Backends: []mesh.MTLSBackend{b}}
	}
	none := func(*mesh.MTLSBackend) {}
	for _, c := range []struct {
		name string
		spec mesh.MeshSpec
		want string
	}{
		{"empty", mesh.MeshSpec{}, ""},
		{"builtin", mesh.MeshSpec{MTLS: one(none), Routing: &mesh.Routing{ZoneEgress: true}}, ""},
		{"backend not enabled", mesh.MeshSpec{MTLS: &mesh.MTLS{Backends: []mesh.MTLSBackend{{Name: "a", Type: "builtin"}}}}, ""},
		{"enabled is unknown", mesh.MeshSpec{MTLS: &mesh.MTLS{EnabledBackend: "x"}}, `mtls.enabledBackend: "x" is not the name of any backend`},
		{"two alike", mesh.MeshSpec{MTLS: &mesh.MTLS{Backends: []mesh.MTLSBackend{{Name: "a", Type: "builtin"}, {Name: "a", Type: "builtin"}}}}, "mtls.backends[1].name: \"a\" is the name of another"},
		{"provided", mesh.MeshSpec{MTLS: one(func(b *mesh.MTLSBackend) { b.Type = "provided" })}, "mtls.backends[0].conf.cert: must be set, to a secret\nmtls.backends[0].conf.key: must be set, to a secret"},
		{"vault", mesh.MeshSpec{MTLS: one(func(b *mesh.MTLSBackend) { b.Type = "vault" })}, `mtls.backends[0].type: there is no backend of type "vault"`},
		{"all empty", mesh.MeshSpec{MTLS: &mesh.MTLS{Backends: []mesh.MTLSBackend{{}}}}, "mtls.backends[0].name: must not be empty\nmtls.backends[0].type: must not be empty"},
		{"bad name and mode", mesh.MeshSpec{MTLS: one(func(b *mesh.MTLSBackend) { b.Name = "a/b"; b.Mode = "strict" })}, "mtls.backends[0].name: must consist\nmtls.backends[0].mode: \"strict\" is not one of STRICT, PERMISSIVE"},
		{"lifetimes", mesh.MeshSpec{MTLS: one(func(b *mesh.MTLSBackend) {
			b.DpCert = &mesh.DpCert{Rotation: &mesh.CertRotation{Expiration: "1.5d"}, RequestTimeout: "soon"}
			b.RootChain = &mesh.RootChain{RequestTimeout: "10"}
			b.Conf = &mesh.BackendConf{CACert: &mesh.BuiltinCACert{RSAbits: 1024, Expiration: "0y"}}
		})}, "mtls.backends[0].dpCert.rotation.expiration: \"1.5d\" is not a lifetime\nmtls.backends[0].dpCert.requestTimeout: \"soon\"\n" +
			"mtls.backends[0].rootChain.requestTimeout: \"10\"\nmtls.backends[0].conf.caCert.RSAbits: must be between\nmtls.backends[0].conf.caCert.expiration: must be longer"},
		{"egress without mtls", mesh.MeshSpec{Routing: &mesh.Routing{ZoneEgress: true}}, "routing.zoneEgress: needs mTLS"},
		{"constraints", mesh.MeshSpec{Constraints: &mesh.Constraints{DataplaneProxy: &mesh.DataplaneConstraints{
			Requirements: []mesh.TagRule{{Tags: mesh.Tags{"env": "*"}}, {}},
			Restrictions: []mesh.TagRule{{Tags: mesh.Tags{"a b": "x"}}, {Tags: mesh.Tags{"a": ""}}},
		}}}, "constraints.dataplaneProxy.requirements[1].tags: must have\nconstraints.dataplaneProxy.restrictions[0].tags[\"a b\"]: tag key\nconstraints.dataplaneProxy.restrictions[1].tags[\"a\"]: value must"},
		{"the rest", mesh.MeshSpec{MeshServices: &mesh.MeshServices{Mode: "On"}, SkipCreatingInitialPolicies: []string{"*", ""}}, "skipCreatingInitialPolicies[1]: must\nmeshServices.mode: \"On\" is not one of"},
	} {
		t.Run(c.name, func(t *testing.T) { matchLines(t, c.spec.Validate(), c.want) })
	}
}

func TestTrafficPermissionValidate(t *testing.T) {
	all := []mesh.Selector{{Match: mesh.Tags{"kuma.io/service": "*"}}}
	for _, c := range []struct {
		name string
		spec mesh.TrafficPermission
		want string
	}{
		{"all to all", mesh.TrafficPermission{Sources: all, Destinations: all}, ""},
		{"any tags", mesh.TrafficPermission{Sources: []mesh.Selector{{Match: mesh.Tags{"team": "a/b"}}}, Destinations: all}, ""},
		{"empty", mesh.TrafficPermission{}, "sources: must have at least one selector\ndestinations: must have at least one selector"},
		{"selectors", mesh.TrafficPermission{
			Sources:      []mesh.Selector{{}, {Match: mesh.Tags{"a": ""}}},
			Destinations: []mesh.Selector{{Match: mesh.Tags{"": "x"}}, {Match: mesh.Tags{"b": "x*", "c c": "x"}}},
		}, "sources[0].match: must have at least one tag\nsources[1].match[\"a\"]: value must not be empty\n" +
			"destinations[0].match[\"\"]: tag key must not be empty\ndestinations[1].match[\"b\"]: value must consist\ndestinations[1].match[\"c c\"]: tag key must"},
	} {
		t.Run(c.name, func(t *testing.T) { matchLines(t, c.spec.Validate(), c.want) })
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		kind *mesh.Kind
		name string
		ok   bool
	}{
		{mesh.DataplaneKind, "web-1", true},
		{mesh.DataplaneKind, "1", true},
		{mesh.DataplaneKind, "web-1.eu.example", true},
		{mesh.DataplaneKind, strings.Repeat("a", 253), true},
		{mesh.DataplaneKind, strings.Repeat("a", 254), false},
		{mesh.DataplaneKind, "", false},
		{mesh.DataplaneKind, "..", false},
		{mesh.DataplaneKind, "a..b", false},
		{mesh.DataplaneKind, "a/b", false},
		{mesh.DataplaneKind, "a\x00b", false},
		{mesh.DataplaneKind, "a\n", false},
		{mesh.DataplaneKind, "Web", false},
		{mesh.DataplaneKind, "-a", false},
		{mesh.DataplaneKind, "a_b", false},
		{mesh.DataplaneKind, "é", false},
		{mesh.MeshKind, strings.Repeat("a", 63), true},
		{mesh.MeshKind, strings.Repeat("a", 64), false},
	} {
		if v := mesh.ValidateName(c.kind, c.name); (len(v) == 0) != c.ok {
			t.Errorf("%s %q: %v, want valid: %t", c.kind.Name, c.name, v, c.ok)
		}
	}
	for name, ok := range map[string]bool{"default": true, "my_mesh": true, "": false, "..": false, "a/b": false, "a?b": false, "A": false, strings.Repeat("a", 254): false} {
		if v := mesh.ValidateMeshName(name); (len(v) == 0) != ok {
			t.Errorf("mesh %q: %v, want valid: %t", name, v, ok)
		}
	}
}

func TestResourceValidateTellsEverything(t *testing.T) {
	r := mesh.Resource{
		Kind: mesh.TrafficPermissionKind,
		Meta: mesh.Meta{Mesh: "A", Name: "..", Labels: map[string]string{"a b": "c", "x.y/z": "ok", "team": "-"}},
		Spec: &mesh.TrafficPermission{},
	}
	matchLines(t, r.Validate(), "mesh: must be\nname: must be\nlabels[\"a b\"]: key must\nlabels[\"team\"]: value must\nsources: must\ndestinations: must")
	m := mesh.Resource{Kind: mesh.MeshKind, Meta: mesh.Meta{Mesh: "x", Name: "y"}, Spec: &mesh.MeshSpec{}}
	matchLines(t, m.Validate(), "mesh: a Mesh belongs to no mesh")
}

func TestConstraintsAdmit(t *testing.T) {
	c := &mesh.Constraints{DataplaneProxy: &mesh.DataplaneConstraints{
		Requirements: []mesh.TagRule{{Tags: mesh.Tags{"env": "prod"}}, {Tags: mesh.Tags{"audited": "*"}}},
		Restrictions: []mesh.TagRule{{Tags: mesh.Tags{"team": "x"}}},
	}}
	dp := func(tags ...mesh.Tags) *mesh.Dataplane {
		var d mesh.Dataplane
		for _, t := range tags {
			d.Networking.Inbound = append(d.Networking.Inbound, mesh.Inbound{Port: 80, Tags: t})
		}
		return &d
	}
	gw := &mesh.Dataplane{Networking: mesh.DataplaneNetworking{Gateway: &mesh.Gateway{Tags: mesh.Tags{"env": "dev"}}}}
	for _, k := range []struct {
		name string
		c    *mesh.Constraints
		dp   *mesh.Dataplane
		want string
	}{
		{"no constraints", nil, dp(mesh.Tags{"a": "b"}), ""},
		{"empty constraints", &mesh.Constraints{}, dp(mesh.Tags{"a": "b"}), ""},
		{"first requirement", c, dp(mesh.Tags{"env": "prod"}), ""},
		{"second requirement", c, dp(mesh.Tags{"audited": "2026"}), ""},
		{"one inbound does not", c, dp(mesh.Tags{"env": "prod"}, mesh.Tags{"env": "dev"}), "networking.inbound[1].tags: the mesh takes only dataplanes with the tags {env=prod} or {audited=*}; these are {env=dev}"},
		{"restricted", c, dp(mesh.Tags{"env": "prod", "team": "x"}), "networking.inbound[0].tags: the mesh takes no dataplanes with the tags {team=x}; these are {env=prod, team=x}"},
		{"gateway", c, gw, "networking.gateway.tags: the mesh takes only"},
	} {
		t.Run(k.name, func(t *testing.T) { matchLines(t, k.c.Admits(k.dp), k.want) })
	}
}

func TestViolationsAreInvalid(t *testing.T) {
	err := (&mesh.TrafficPermission{}).Validate().Err()
	if !errors.Is(err, mesh.ErrInvalid) {
		t.Errorf("%v does not wrap ErrInvalid", err)
	}
	if !strings.Contains(err.Error(), "sources: must have") || !strings.Contains(err.Error(), "; destinations: must have") {
		t.Errorf("error %q does not tell everything", err)
	}
	if err := (&mesh.MeshSpec{}).Validate().Err(); err != nil {
		t.Errorf("no violations are the error %v", err)
	}
}
