package api_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/mesh"
)

func TestEncode(t *testing.T) {
	no := false
	at := time.Date(2026, 11, 23, 12, 2, 16, 575953514, time.FixedZone("", 3600))
	for _, c := range []struct {
		name       string
		r          mesh.Resource
		json, yaml string
	}{
		{
			"a dataplane, with everything that the server adds",
			mesh.Resource{
				Kind: mesh.DataplaneKind,
				Meta: mesh.Meta{Mesh: "default", Name: "web-1", Created: at, Modified: at.Add(time.Second), Labels: map[string]string{"kuma.io/zone": "east", "a": "<b>"}, Version: 7},
				Spec: &mesh.Dataplane{Networking: mesh.DataplaneNetworking{Address: "192.0.2.1", Inbound: []mesh.Inbound{{Port: 80, Tags: mesh.Tags{"version": "1", "kuma.io/service": "web"}}}}},
			},
			`{"type":"Dataplane","mesh":"default","name":"web-1","creationTime":"2026-11-23T11:02:16.575953514Z","modificationTime":"2026-11-23T11:02:17.575953514Z",` +
				`"labels":{"a":"<b>","kuma.io/zone":"east"},"kri":"kri_dp_default_east__web-1_",` +
				`"networking":{"address":"192.0.2.1","inbound":[{"port":80,"tags":{"kuma.io/service":"web","version":"1"}}]}}`,
			`type: Dataplane
mesh: default
name: web-1
creationTime: "2026-11-23T11:02:16.575953514Z"
modificationTime: "2026-11-23T11:02:17.575953514Z"
labels:
  a: <b>
  kuma.io/zone: east
kri: kri_dp_default_east__web-1_
networking:
  address: 192.0.2.1
  inbound:
  - port: 80
    tags:
      kuma.io/service: web
      version: "1"
`,
		},
		{
			"an empty spec",
			mesh.Resource{Kind: mesh.MeshKind, Meta: mesh.Meta{Name: "second"}, Spec: &mesh.MeshSpec{}},
			`{"type":"Mesh","name":"second","kri":"kri_m____second_"}`,
			"type: Mesh\nname: second\nkri: kri_m____second_\n",
		},
		{
			"raw parts keep every digit",
			mesh.Resource{Kind: mesh.MeshExternalServiceKind, Meta: mesh.Meta{Mesh: "m", Name: "d"}, Spec: &mesh.MeshExternalService{
				Spec: mesh.MeshExternalServiceSpec{Extension: &mesh.Extension{Type: "x", Config: []byte(`{"weight":1.50,"id":18446744073709551615,"n":null,"e":[]}`)}},
			}},
			`{"type":"MeshExternalService","mesh":"m","name":"d","kri":"kri_extsvc_m___d_","spec":{"extension":{"type":"x","config":{"weight":1.50,"id":18446744073709551615,"n":null,"e":[]}}}}`,
			"type: MeshExternalService\nmesh: m\nname: d\nkri: kri_extsvc_m___d_\nspec:\n  extension:\n    type: x\n    config:\n      weight: 1.5\n      id: 18446744073709551615\n      \"n\": null\n      e: []\n",
		},
		{
			"false is said where it is not the default, and what is empty where it says something",
			mesh.Resource{Kind: mesh.DataplaneKind, Meta: mesh.Meta{Mesh: "m", Name: "d"}, Spec: &mesh.Dataplane{
				Networking: mesh.DataplaneNetworking{Address: "192.0.2.1", TransparentProxying: &mesh.TransparentProxying{ReachableBackends: &mesh.ReachableBackends{}}},
				Metrics:    &mesh.MetricsBackend{Type: "prometheus", Conf: &mesh.PrometheusConf{SkipMTLS: &no}},
			}},
			`{"type":"Dataplane","mesh":"m","name":"d","kri":"kri_dp_m___d_","networking":{"address":"192.0.2.1","transparentProxying":{"reachableBackends":{}}},"metrics":{"type":"prometheus","conf":{"skipMTLS":false}}}`,
			"type: Dataplane\nmesh: m\nname: d\nkri: kri_dp_m___d_\nnetworking:\n  address: 192.0.2.1\n  transparentProxying:\n    reachableBackends: {}\nmetrics:\n  type: prometheus\n  conf:\n    skipMTLS: false\n",
		},
		{
			"a secret",
			mesh.Resource{Kind: mesh.SecretKind, Meta: mesh.Meta{Mesh: "m", Name: "s"}, Spec: &mesh.Secret{Data: []byte{0, 255}}},
			`{"type":"Secret","mesh":"m","name":"s","data":"AP8="}`,
			"type: Secret\nmesh: m\nname: s\ndata: AP8=\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			j, err := api.Encode(c.r)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.json, string(j)); diff != "" {
				t.Error(diff)
			}
			y, err := api.EncodeYAML(c.r)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.yaml, string(y)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What Encode writes is read as what it was, the server's own fields aside.
func TestEncodeDecodeIsAFixedPoint(t *testing.T) {
	port, sampling, no := uint32(8080), 12.5, false
	metrics := &mesh.PrometheusConf{
		Port: 1, Path: "/m", Tags: mesh.Tags{"a": "b"}, SkipMTLS: &no, TLS: &mesh.MetricsTLS{Mode: "disabled"},
		Aggregate: []mesh.Aggregate{{Name: "a", Port: 2, Path: "/n", Enabled: &no, Address: "::1"}},
		Envoy:     &mesh.EnvoyMetrics{FilterRegex: "x", UsedOnly: &no},
	}
	for _, spec := range []mesh.Spec{
		&mesh.MeshSpec{
			MTLS: &mesh.MTLS{EnabledBackend: "ca-1", SkipValidation: true, Backends: []mesh.MTLSBackend{{
				Name: "ca-1", Type: "builtin", Mode: mesh.Permissive,
				DpCert:    &mesh.DpCert{Rotation: &mesh.CertRotation{Expiration: "1d"}, RequestTimeout: "5s"},
				RootChain: &mesh.RootChain{RequestTimeout: "10s"},
				Conf:      &mesh.BackendConf{CACert: &mesh.BuiltinCACert{RSAbits: 2048, Expiration: "10y"}},
			}}},
			Routing:                     &mesh.Routing{LocalityAwareLoadBalancing: true},
			Constraints:                 &mesh.Constraints{DataplaneProxy: &mesh.DataplaneConstraints{Requirements: []mesh.TagRule{{Tags: mesh.Tags{"env": "*"}}}}},
			SkipCreatingInitialPolicies: []string{"*"},
			MeshServices:                &mesh.MeshServices{Mode: "Exclusive"},
			Logging: &mesh.Logging{DefaultBackend: "f", Backends: []mesh.LoggingBackend{
				{Name: "f", Format: "%KUMA_MESH%\n", Type: "file", Conf: &mesh.LoggingConf{Path: "/a"}},
				{Name: "t", Type: "tcp", Conf: &mesh.LoggingConf{Address: "a:1"}},
			}},
			Tracing: &mesh.Tracing{DefaultBackend: "z", Backends: []mesh.TracingBackend{
				{Name: "z", Sampling: &sampling, Type: "zipkin", Conf: &mesh.TracingConf{URL: "http://a:1/", TraceID128Bit: true, APIVersion: "httpProto", SharedSpanContext: &no}},
				{Name: "d", Type: "datadog", Conf: &mesh.TracingConf{Address: "a", Port: 1, SplitService: true}},
			}},
			Metrics: &mesh.Metrics{EnabledBackend: "p", Backends: []mesh.MetricsBackend{{Name: "p", Type: "prometheus", Conf: metrics}}},
		},
		&mesh.Dataplane{
			Networking: mesh.DataplaneNetworking{
				Address: "192.0.2.1", AdvertisedAddress: "a.example",
				Inbound: []mesh.Inbound{{
					Name: "n", Port: port, Address: "192.0.2.1", ServicePort: 1, ServiceAddress: "::1", Protocol: "http", State: "Ready",
					Tags: mesh.Tags{"kuma.io/service": "web"}, Health: &mesh.InboundHealth{},
					ServiceProbe: &mesh.ServiceProbe{Interval: "1s", Timeout: "2s", UnhealthyThreshold: 1, HealthyThreshold: 2, TCP: &mesh.TCPProbe{}},
				}},
				Outbound:            []mesh.Outbound{{Port: 1, Address: "127.0.0.1", Tags: mesh.Tags{"kuma.io/service": "a"}}, {Port: 2, BackendRef: &mesh.OutboundRef{Kind: "MeshService"}}},
				TransparentProxying: &mesh.TransparentProxying{RedirectPortInbound: 15006, RedirectPortOutbound: 15001, DirectAccessServices: []string{"*"}, ReachableServices: []string{"a"}, IPFamilyMode: "IPv4", ReachableBackends: &mesh.ReachableBackends{}},
				Admin:               &mesh.DataplaneAdmin{Port: 9901},
				Listeners:           []mesh.Listener{{Type: "ZoneEgress", Address: "192.0.2.1", Port: 2, Name: "e", State: "Ready"}},
			},
			Metrics: &mesh.MetricsBackend{Name: "p", Type: "prometheus", Conf: metrics},
			Probes:  &mesh.Probes{Port: 9000, Endpoints: []mesh.ProbeEndpoint{{InboundPort: port, InboundPath: "/a", Path: "/b"}}},
		},
		&mesh.Dataplane{Networking: mesh.DataplaneNetworking{Address: "192.0.2.1", Gateway: &mesh.Gateway{Type: mesh.Builtin, Tags: mesh.Tags{"kuma.io/service": "edge"}}}},
		&mesh.TrafficPermission{Sources: []mesh.Selector{{Match: mesh.Tags{"a": "*"}}}, Destinations: []mesh.Selector{{Match: mesh.Tags{"b": "yes"}}, {}}},
		&mesh.TrafficLog{Sources: []mesh.Selector{{Match: mesh.Tags{"kuma.io/service": "*"}}}, Conf: &mesh.TrafficLogConf{Backend: "f"}},
		&mesh.TrafficTrace{Selectors: []mesh.Selector{{Match: mesh.Tags{"a": "b"}}}, Conf: &mesh.TrafficTraceConf{Backend: "z"}},
		&mesh.Secret{Data: []byte("\x00\xff secret")},
		&mesh.Secret{},
	} {
		r := mesh.Resource{Kind: kindOf(t, spec), Meta: mesh.Meta{Name: "n", Labels: map[string]string{"a": "b"}}, Spec: spec}
		if r.Kind.Scope == mesh.InMesh {
			r.Meta.Mesh = "default"
		}
		for _, encode := range []func(mesh.Resource) ([]byte, error){api.Encode, api.EncodeYAML} {
			doc, err := encode(r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := api.Decode(doc)
			if err != nil {
				t.Fatalf("%v in\n%s", err, doc)
			}
			if diff := cmp.Diff(r, got, sameKind); diff != "" {
				t.Errorf("%s\n%s", doc, diff)
			}
		}
		sameAgain(t, r)
	}
}

func kindOf(t *testing.T, s mesh.Spec) *mesh.Kind {
	t.Helper()
	for _, k := range mesh.Kinds {
		if reflect.TypeOf(k.New()) == reflect.TypeOf(s) {
			return k
		}
	}
	t.Fatalf("no kind has a spec of type %T", s)
	return nil
}
