package mesh_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/pkg/mesh"
)

func ptr[T any](v T) *T { return &v }

func TestTrafficLogValidate(t *testing.T) {
	on := func(tags ...mesh.Tags) (ss []mesh.Selector) {
		for _, t := range tags {
			ss = append(ss, mesh.Selector{Match: t})
		}
		return ss
	}
	svc := func(name string, more ...string) mesh.Tags {
		tags := mesh.Tags{mesh.ServiceTag: name}
		for _, k := range more {
			tags[k] = "x"
		}
		return tags
	}
	for _, c := range []struct {
		name string
		spec mesh.TrafficLog
		want string
	}{
		{"all", mesh.TrafficLog{Sources: on(svc("*")), Destinations: on(svc("*"))}, ""},
		{"to outside, by name", mesh.TrafficLog{Sources: on(svc("web", "version")), Destinations: on(svc(mesh.PassThrough), svc("api")), Conf: &mesh.TrafficLogConf{Backend: "nobody"}}, ""},
		{"empty", mesh.TrafficLog{}, "sources: must have at least one selector\ndestinations: must have at least one selector"},
		{"no tags", mesh.TrafficLog{Sources: on(nil), Destinations: on(nil)}, "sources[0].match: must have at least one tag\ndestinations[0].match: must have at least one tag"},
		{"no service", mesh.TrafficLog{Sources: on(svc("*"), mesh.Tags{"a": "b"}), Destinations: on(mesh.Tags{"a": "b"})},
			"sources[1].match[\"kuma.io/service\"]: tag has to exist\ndestinations[0].match: must have the tag kuma.io/service and no other"},
		{"destination with more", mesh.TrafficLog{Sources: on(svc("*")), Destinations: on(svc("api", "version"))}, "destinations[0].match: must have the tag kuma.io/service and no other"},
		{"values", mesh.TrafficLog{Sources: on(svc("a b")), Destinations: on(svc("*x"))}, "sources[0].match[\"kuma.io/service\"]: value must consist\ndestinations[0].match[\"kuma.io/service\"]: value must consist"},
	} {
		t.Run(c.name, func(t *testing.T) { matchLines(t, c.spec.Validate(), c.want) })
	}
}

func TestTrafficTraceValidate(t *testing.T) {
	for _, c := range []struct {
		name string
		spec mesh.TrafficTrace
		want string
	}{
		{"all", mesh.TrafficTrace{Selectors: []mesh.Selector{{Match: mesh.Tags{mesh.ServiceTag: "*"}}}}, ""},
		{"any tag", mesh.TrafficTrace{Selectors: []mesh.Selector{{Match: mesh.Tags{"team": "a/b"}}}, Conf: &mesh.TrafficTraceConf{Backend: "x"}}, ""},
		{"empty", mesh.TrafficTrace{}, "selectors: must have at least one selector"},
		{"no tags", mesh.TrafficTrace{Selectors: []mesh.Selector{{}}}, "selectors[0].match: must have at least one tag"},
		{"value", mesh.TrafficTrace{Selectors: []mesh.Selector{{Match: mesh.Tags{"a": "", "b c": "d"}}}}, "selectors[0].match[\"a\"]: value must not be empty\nselectors[0].match[\"b c\"]: tag key"},
	} {
		t.Run(c.name, func(t *testing.T) { matchLines(t, c.spec.Validate(), c.want) })
	}
}

func TestMeshLoggingValidate(t *testing.T) {
	file := func(path string) mesh.LoggingBackend {
		return mesh.LoggingBackend{Name: "f", Type: "file", Conf: &mesh.LoggingConf{Path: path}}
	}
	tcp := func(address string) mesh.LoggingBackend {
		return mesh.LoggingBackend{Name: "t", Type: "tcp", Conf: &mesh.LoggingConf{Address: address}}
	}
	for _, c := range []struct {
		name string
		in   mesh.Logging
		want string
	}{
		{"empty", mesh.Logging{}, ""},
		{"both", mesh.Logging{DefaultBackend: "t", Backends: []mesh.LoggingBackend{file("/dev/stdout"), tcp("logs.example.com:5000")}}, ""},
		{"ipv6", mesh.Logging{Backends: []mesh.LoggingBackend{tcp("[2001:db8::1]:1")}}, ""},
		{"no default", mesh.Logging{DefaultBackend: "x", Backends: []mesh.LoggingBackend{file("/a")}}, `logging.defaultBackend: "x" is not the name of any backend`},
		{"names", mesh.Logging{Backends: []mesh.LoggingBackend{{Type: "file", Conf: &mesh.LoggingConf{Path: "/a"}}, file("/a"), file("/b"), {Name: "a/b", Type: "file", Conf: &mesh.LoggingConf{Path: "/a"}}}},
			"logging.backends[0].name: must not be empty\nlogging.backends[2].name: \"f\" is the name of another\nlogging.backends[3].name: must consist of"},
		{"no type", mesh.Logging{Backends: []mesh.LoggingBackend{{Name: "a"}}}, "logging.backends[0].type: must not be empty; it is file or tcp"},
		{"type", mesh.Logging{Backends: []mesh.LoggingBackend{{Name: "a", Type: "udp"}}}, `logging.backends[0].type: "udp" is not one of file, tcp`},
		{"no conf", mesh.Logging{Backends: []mesh.LoggingBackend{{Name: "a", Type: "file"}, {Name: "b", Type: "tcp"}}}, "logging.backends[0].conf.path: must be an absolute path\nlogging.backends[1].conf.address: must not be empty"},
		{"relative", mesh.Logging{Backends: []mesh.LoggingBackend{file("log")}}, "logging.backends[0].conf.path: must be an absolute path"},
		{"zero byte", mesh.Logging{Backends: []mesh.LoggingBackend{file("/a\x00b")}}, "logging.backends[0].conf.path: must be an absolute path"},
		{"mixed", mesh.Logging{Backends: []mesh.LoggingBackend{
			{Name: "a", Type: "file", Conf: &mesh.LoggingConf{Path: "/a", Address: "a:1"}},
			{Name: "b", Type: "tcp", Conf: &mesh.LoggingConf{Path: "/a", Address: "a:1"}},
		}}, "logging.backends[0].conf.address: is of the type tcp\nlogging.backends[1].conf.path: is of the type file"},
		{"addresses", mesh.Logging{Backends: []mesh.LoggingBackend{tcp("logs"), {Name: "b", Type: "tcp", Conf: &mesh.LoggingConf{Address: ":5000"}}, {Name: "c", Type: "tcp", Conf: &mesh.LoggingConf{Address: "a b:99999"}}}},
			"logging.backends[0].conf.address: \"logs\" is not host:port\nlogging.backends[1].conf.address: \":5000\" is not\nlogging.backends[2].conf.address: \"a b\" is neither\nlogging.backends[2].conf.address: port must be"},
		{"format", mesh.Logging{Backends: []mesh.LoggingBackend{{Name: "a", Type: "file", Format: "%NOSUCH% %KUMA_X%", Conf: &mesh.LoggingConf{Path: "/a"}}}},
			"logging.backends[0].format: %NOSUCH%: Envoy has no such command\nlogging.backends[0].format: %KUMA_X%: there is no such placeholder"},
	} {
		t.Run(c.name, func(t *testing.T) { matchLines(t, (&mesh.MeshSpec{Logging: &c.in}).Validate(), c.want) })
	}
}

func TestMeshTracingValidate(t *testing.T) {
	zipkin := func(change func(*mesh.TracingConf)) mesh.Tracing {
		c := mesh.TracingConf{URL: "http://zipkin:9411/api/v2/spans"}
		change(&c)
		return mesh.Tracing{Backends: []mesh.TracingBackend{{Name: "z", Type: "zipkin", Conf: &c}}}
	}
	datadog := func(change func(*mesh.TracingConf)) mesh.Tracing {
		c := mesh.TracingConf{Address: "192.0.2.1", Port: 8126}
		change(&c)
		return mesh.Tracing{Backends: []mesh.TracingBackend{{Name: "d", Type: "datadog", Conf: &c}}}
	}
	sampling := func(p float64) mesh.Tracing {
		m := zipkin(func(*mesh.TracingConf) {})
		m.Backends[0].Sampling = &p
		return m
	}
	url := func(u string) mesh.Tracing { return zipkin(func(c *mesh.TracingConf) { c.URL = u }) }
	for _, c := range []struct {
		name string
		in   mesh.Tracing
		want string
	}{
		{"empty", mesh.Tracing{}, ""},
		{"zipkin", zipkin(func(c *mesh.TracingConf) {
			c.TraceID128Bit, c.APIVersion, c.SharedSpanContext = true, "httpProto", ptr(false)
		}), ""},
		{"zipkin of old", zipkin(func(c *mesh.TracingConf) { c.APIVersion = "httpJsonV1" }), ""},
		{"zipkin by TLS", url("https://[2001:db8::1]:443/x"), ""},
		{"datadog", datadog(func(c *mesh.TracingConf) { c.SplitService = true }), ""},
		{"nothing sampled", sampling(0), ""},
		{"all sampled", sampling(100), ""},
		{"sampling too low", sampling(-0.1), "tracing.backends[0].sampling: must be a percentage"},
		{"sampling too high", sampling(100.1), "tracing.backends[0].sampling: must be a percentage"},
		{"no default", mesh.Tracing{DefaultBackend: "x"}, `tracing.defaultBackend: "x" is not the name`},
		{"types and names", mesh.Tracing{Backends: []mesh.TracingBackend{{}, {Name: "a", Type: "jaeger"}}}, "tracing.backends[0].name: must not be empty\ntracing.backends[0].type: must not be empty; it is zipkin or datadog\ntracing.backends[1].type: \"jaeger\" is not one of"},
		{"no conf", mesh.Tracing{Backends: []mesh.TracingBackend{{Name: "a", Type: "zipkin"}, {Name: "b", Type: "datadog"}}}, "tracing.backends[0].conf.url: must not be empty\ntracing.backends[1].conf.address: address must not be empty\ntracing.backends[1].conf.port: port must be"},
		{"no port", url("http://zipkin/api"), "tracing.backends[0].conf.url: port has to be explicitly specified"},
		{"port", url("http://zipkin:0/api"), "tracing.backends[0].conf.url: port must be"},
		{"scheme", url("tcp://zipkin:1/api"), `tracing.backends[0].conf.url: "tcp://zipkin:1/api" is not a URL of http`},
		{"no URL", url("zipkin:9411"), `tracing.backends[0].conf.url: "zipkin:9411" is not a URL of http`},
		{"user", url("http://a:b@zipkin:1/"), "tracing.backends[0].conf.url: must have neither user nor fragment"},
		{"host", url("http://a_+b:1/"), `tracing.backends[0].conf.url: "a_+b" is neither`},
		{"version", zipkin(func(c *mesh.TracingConf) { c.APIVersion = "v2" }), `tracing.backends[0].conf.apiVersion: "v2" is not one of httpJsonV1, httpJson, httpProto`},
		{"datadog's in zipkin", zipkin(func(c *mesh.TracingConf) { c.Address, c.Port, c.SplitService = "a", 1, true }),
			"tracing.backends[0].conf.address: is of the type datadog\ntracing.backends[0].conf.port: is of the type datadog\ntracing.backends[0].conf.splitService: is of the type datadog"},
		{"zipkin's in datadog", datadog(func(c *mesh.TracingConf) {
			c.URL, c.TraceID128Bit, c.APIVersion, c.SharedSpanContext = "http://a:1/", true, "httpJson", ptr(true)
		}), "tracing.backends[0].conf.url: is of the type zipkin\ntracing.backends[0].conf.traceId128bit: is of the type zipkin\ntracing.backends[0].conf.apiVersion: is of the type zipkin\ntracing.backends[0].conf.sharedSpanContext: is of the type zipkin"},
		{"datadog's address", datadog(func(c *mesh.TracingConf) { c.Address, c.Port = "a b", 65536 }), "tracing.backends[0].conf.address: \"a b\" is neither\ntracing.backends[0].conf.port: port must be"},
	} {
		t.Run(c.name, func(t *testing.T) { matchLines(t, (&mesh.MeshSpec{Tracing: &c.in}).Validate(), c.want) })
	}
}

var metricsCases = []struct {
	name string
	conf mesh.PrometheusConf
	want string // each line after "conf."
}{
	{"empty", mesh.PrometheusConf{}, ""},
	{"everything", mesh.PrometheusConf{
		Port: 1234, Path: "/m", Tags: mesh.Tags{mesh.ServiceTag: "m", "team": "x"}, SkipMTLS: ptr(false),
		Aggregate: []mesh.Aggregate{{Name: "app", Port: 8080, Path: "/metrics?format=text", Enabled: ptr(true), Address: "::1"}},
		Envoy:     &mesh.EnvoyMetrics{FilterRegex: "^http\\..*", UsedOnly: ptr(true)}, TLS: &mesh.MetricsTLS{Mode: "providedTLS"},
	}, ""},
	{"port", mesh.PrometheusConf{Port: 70000}, "port: port must be in the range [0, 65535]"},
	{"relative path", mesh.PrometheusConf{Path: "metrics"}, `path: must begin with "/"`},
	{"path with a query", mesh.PrometheusConf{Path: "/m?a=b"}, "path: must not have a query"},
	{"path with a blank", mesh.PrometheusConf{Path: "/m n"}, `path: "/m n" must consist of`},
	{"long path", mesh.PrometheusConf{Path: "/" + strings.Repeat("x", 256)}, "path: must have at most 256 characters, has 257"},
	{"tags", mesh.PrometheusConf{Tags: mesh.Tags{"a b": "c", "d": ""}}, "tags[\"a b\"]: tag key must\ntags[\"d\"]: tag value must not be empty"},
	{"regex", mesh.PrometheusConf{Envoy: &mesh.EnvoyMetrics{FilterRegex: "a("}}, "envoy.filterRegex: is not a regular expression"},
	{"long regex", mesh.PrometheusConf{Envoy: &mesh.EnvoyMetrics{FilterRegex: strings.Repeat("x", 1025)}}, "envoy.filterRegex: must have at most 1024 bytes"},
	{"mode", mesh.PrometheusConf{TLS: &mesh.MetricsTLS{Mode: "on"}}, `tls.mode: "on" is not one of activeMTLSBackend, providedTLS, disabled`},
	{"aggregate", mesh.PrometheusConf{Aggregate: []mesh.Aggregate{
		{Port: 1}, {Name: "a", Port: 65536}, {Name: "a", Port: 1, Path: "x"}, {Name: "b", Port: 1, Address: "0.0.0.0"}, {Name: strings.Repeat("c", 64), Port: 1},
	}}, "aggregate[0].name: must not be empty\naggregate[1].port: port must be\naggregate[2].name: \"a\" is the name of another\naggregate[2].path: must begin\naggregate[3].address: must not be 0.0.0.0\naggregate[4].name: must have at most 63"},
	{"many", mesh.PrometheusConf{Aggregate: make([]mesh.Aggregate, 17)}, "aggregate: must have at most 16 entries, has 17"},
}

// under puts a path before each line that is not empty.
func under(path, lines string) string {
	if lines == "" {
		return ""
	}
	return path + strings.ReplaceAll(lines, "\n", "\n"+path)
}

func TestMetricsValidate(t *testing.T) {
	for _, c := range metricsCases {
		t.Run("mesh/"+c.name, func(t *testing.T) {
			if c.name == "many" {
				for i := range c.conf.Aggregate {
					c.conf.Aggregate[i].Port = 1
				}
			}
			s := mesh.MeshSpec{Metrics: &mesh.Metrics{EnabledBackend: "p", Backends: []mesh.MetricsBackend{{Name: "p", Type: "prometheus", Conf: &c.conf}}}}
			matchLines(t, s.Validate(), under("metrics.backends[0].conf.", c.want))
		})
		t.Run("dataplane/"+c.name, func(t *testing.T) {
			dp := mesh.Dataplane{
				Networking: mesh.DataplaneNetworking{Address: "192.0.2.1", Inbound: []mesh.Inbound{{Port: 80, Tags: mesh.Tags{mesh.ServiceTag: "web"}}}},
				Metrics:    &mesh.MetricsBackend{Type: "prometheus", Conf: &c.conf},
			}
			matchLines(t, dp.Validate(), under("metrics.conf.", c.want))
		})
	}
	for _, c := range []struct {
		name string
		in   mesh.Metrics
		want string
	}{
		{"none", mesh.Metrics{}, ""},
		{"enabled", mesh.Metrics{EnabledBackend: "x"}, `metrics.enabledBackend: "x" is not the name of any backend`},
		{"names and types", mesh.Metrics{Backends: []mesh.MetricsBackend{{}, {Name: "a", Type: "statsd"}, {Name: "a", Type: "prometheus"}}},
			"metrics.backends[0].name: must not be empty\nmetrics.backends[0].type: must not be empty; it is prometheus\nmetrics.backends[1].type: \"statsd\" is not one of\nmetrics.backends[2].name: \"a\" is the name of another"},
		{"aggregate without a port", mesh.Metrics{Backends: []mesh.MetricsBackend{{Name: "a", Type: "prometheus", Conf: &mesh.PrometheusConf{Aggregate: []mesh.Aggregate{{Name: "app"}}}}}},
			"metrics.backends[0].conf.aggregate[0].port: port must be"},
	} {
		t.Run(c.name, func(t *testing.T) { matchLines(t, (&mesh.MeshSpec{Metrics: &c.in}).Validate(), c.want) })
	}
	t.Run("a dataplane's port is its own", func(t *testing.T) {
		dp := mesh.Dataplane{
			Networking: mesh.DataplaneNetworking{Address: "192.0.2.1", Inbound: []mesh.Inbound{{Port: 5670, Tags: mesh.Tags{mesh.ServiceTag: "web"}}}},
			Metrics:    &mesh.MetricsBackend{Conf: &mesh.PrometheusConf{Port: 5670}},
		}
		matchLines(t, dp.Validate(), "metrics.type: must not be empty\nmetrics.conf.port: 5670 is the port of networking.inbound[0]")
	})
}

func TestPrometheus(t *testing.T) {
	spec := &mesh.MeshSpec{Metrics: &mesh.Metrics{EnabledBackend: "p", Backends: []mesh.MetricsBackend{{Name: "p", Type: "prometheus", Conf: &mesh.PrometheusConf{
		Port: 1000, Path: "/m", Tags: mesh.Tags{mesh.ServiceTag: "m", "a": "mesh"}, SkipMTLS: ptr(true),
		Aggregate: []mesh.Aggregate{{Name: "app", Port: 1, Address: "192.0.2.9"}, {Name: "gone", Port: 2}},
		Envoy:     &mesh.EnvoyMetrics{FilterRegex: "x", UsedOnly: ptr(true)},
	}}}}}
	before := *spec.Metrics.Backends[0].Conf
	before.Tags = mesh.Tags{mesh.ServiceTag: "m", "a": "mesh"}
	before.Aggregate = append([]mesh.Aggregate{}, before.Aggregate...)
	for _, c := range []struct {
		name string
		spec *mesh.MeshSpec
		over *mesh.PrometheusConf
		want *mesh.PrometheusConf
	}{
		{"off", &mesh.MeshSpec{Metrics: &mesh.Metrics{Backends: spec.Metrics.Backends}}, &mesh.PrometheusConf{Port: 1}, nil},
		{"none", &mesh.MeshSpec{}, nil, nil},
		{"defaults", &mesh.MeshSpec{Metrics: &mesh.Metrics{EnabledBackend: "p", Backends: []mesh.MetricsBackend{{Name: "p"}}}}, nil, &mesh.PrometheusConf{
			Port: 5670, Path: "/metrics", Tags: mesh.Tags{mesh.ServiceTag: "dataplane-metrics"}, TLS: &mesh.MetricsTLS{Mode: "activeMTLSBackend"},
		}},
		{"the mesh's", spec, nil, &mesh.PrometheusConf{
			Port: 1000, Path: "/m", Tags: mesh.Tags{mesh.ServiceTag: "m", "a": "mesh"}, SkipMTLS: ptr(true), TLS: &mesh.MetricsTLS{Mode: "disabled"},
			Aggregate: []mesh.Aggregate{{Name: "app", Port: 1, Path: "/metrics", Address: "192.0.2.9"}, {Name: "gone", Port: 2, Path: "/metrics"}},
			Envoy:     &mesh.EnvoyMetrics{FilterRegex: "x", UsedOnly: ptr(true)},
		}},
		{"the dataplane's over them", spec, &mesh.PrometheusConf{
			Path: "/n", Tags: mesh.Tags{"a": "dp", "b": "c"}, SkipMTLS: ptr(false), TLS: &mesh.MetricsTLS{Mode: "providedTLS"},
			Aggregate: []mesh.Aggregate{{Name: "gone", Enabled: ptr(false)}, {Name: "app", Port: 3, Path: "/p", Address: "192.0.2.8"}, {Name: "new", Port: 4}},
			Envoy:     &mesh.EnvoyMetrics{UsedOnly: ptr(false)},
		}, &mesh.PrometheusConf{
			Port: 1000, Path: "/n", Tags: mesh.Tags{mesh.ServiceTag: "m", "a": "dp", "b": "c"}, SkipMTLS: ptr(false), TLS: &mesh.MetricsTLS{Mode: "providedTLS"},
			Aggregate: []mesh.Aggregate{{Name: "app", Port: 3, Path: "/p", Address: "192.0.2.8"}, {Name: "new", Port: 4, Path: "/metrics"}},
			Envoy:     &mesh.EnvoyMetrics{FilterRegex: "x", UsedOnly: ptr(false)},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dp := &mesh.Dataplane{}
			if c.over != nil {
				dp.Metrics = &mesh.MetricsBackend{Type: "prometheus", Conf: c.over}
			}
			if d := cmp.Diff(c.want, c.spec.Prometheus(dp)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
	if d := cmp.Diff(&before, spec.Metrics.Backends[0].Conf); d != "" {
		t.Errorf("the mesh's own words changed:\n%s", d)
	}
}

func TestBackends(t *testing.T) {
	l := &mesh.Logging{DefaultBackend: "b", Backends: []mesh.LoggingBackend{{Name: "a"}, {Name: "b"}}}
	tr := &mesh.Tracing{DefaultBackend: "b", Backends: []mesh.TracingBackend{{Name: "a"}, {Name: "b", Sampling: ptr(12.5)}}}
	if l.Backend("a") != &l.Backends[0] || l.Backend("") != &l.Backends[1] || l.Backend("x") != nil || (*mesh.Logging)(nil).Backend("a") != nil || (&mesh.Logging{}).Backend("") != nil {
		t.Error("a logging backend is not the one that is named")
	}
	if tr.Backend("a") != &tr.Backends[0] || tr.Backend("") != &tr.Backends[1] || tr.Backend("x") != nil || (*mesh.Tracing)(nil).Backend("a") != nil {
		t.Error("a tracing backend is not the one that is named")
	}
	if a, b := tr.Backends[0].Percent(), tr.Backends[1].Percent(); a != 100 || b != 12.5 {
		t.Errorf("%g and %g percent are sampled, want 100 and 12.5", a, b)
	}
}

func TestProbesValidate(t *testing.T) {
	for _, c := range []struct {
		name string
		in   mesh.Probes
		want string
	}{
		{"well", mesh.Probes{Port: 9000, Endpoints: []mesh.ProbeEndpoint{{InboundPort: 80, InboundPath: "/a?b=c", Path: "/x"}}}, ""},
		{"nothing", mesh.Probes{Endpoints: []mesh.ProbeEndpoint{{}}}, "probes.port: port must be\nprobes.endpoints[0].inboundPort: port must be\nprobes.endpoints[0].inboundPath: must begin with\nprobes.endpoints[0].path: must begin with"},
		{"the port of an inbound", mesh.Probes{Port: 80}, "probes.port: 80 is the port of networking.inbound[0] already"},
		{"paths", mesh.Probes{Port: 9000, Endpoints: []mesh.ProbeEndpoint{{InboundPort: 80, InboundPath: "x", Path: "/a\nb"}, {InboundPort: 80, InboundPath: "/" + strings.Repeat("x", 256), Path: "/a?b"}}},
			"probes.endpoints[0].inboundPath: must begin with\nprobes.endpoints[0].path: \"/a\\nb\" must consist of\nprobes.endpoints[1].inboundPath: must have at most 256\nprobes.endpoints[1].path: must not have a query"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dp := mesh.Dataplane{
				Networking: mesh.DataplaneNetworking{Address: "192.0.2.1", Inbound: []mesh.Inbound{{Port: 80, Tags: mesh.Tags{mesh.ServiceTag: "web"}}}},
				Probes:     &c.in,
			}
			matchLines(t, dp.Validate(), c.want)
		})
	}
}
