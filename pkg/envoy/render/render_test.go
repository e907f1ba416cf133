package render_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/pkg/envoy/render"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// plan is a plan with everything in it.
func plan() *proxy.Config {
	identity := &proxy.Identity{
		TrustDomain: "default",
		URIs:        []string{"kuma://kuma.io/service/web", "spiffe://default/web"},
	}
	c := &proxy.Config{
		ID:          proxy.ID{Mesh: "default", Name: "web-1"},
		Identity:    identity,
		Transparent: &proxy.Transparent{InboundPort: 15006, OutboundPort: 15001, Passthrough: true},
	}
	port := uint16(8000)
	for _, mode := range []string{proxy.Strict, proxy.Permissive, proxy.Plain} {
		for _, protocol := range []string{proxy.TCP, proxy.TLS, proxy.HTTP, proxy.HTTP2, proxy.GRPC, proxy.Kafka} {
			port++
			in := proxy.Inbound{
				Name:     fmt.Sprint(port),
				Listen:   netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port),
				Workload: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port),
				Service:  "web",
				Tags:     map[string]string{"kuma.io/service": "web", "kuma.io/protocol": protocol, "version": "1"},
				Protocol: protocol,
				Access:   proxy.Access{Mode: mode},
			}
			if mode != proxy.Plain {
				in.Access.Policy = "callers"
				in.Access.Allow = []proxy.Principal{
					{URIs: []string{"spiffe://default/client"}},
					{URIs: []string{"kuma://env/prod", "spiffe://default/batch"}},
					{},
				}
			}
			c.Inbounds = append(c.Inbounds, in)
		}
	}
	for i, protocol := range []string{proxy.TCP, proxy.TLS, proxy.HTTP, proxy.HTTP2, proxy.GRPC, proxy.Kafka} {
		service := "api-" + protocol
		c.Outbounds = append(c.Outbounds, proxy.Outbound{
			Name:    service,
			Service: service,
			Listen: []netip.AddrPort{
				netip.MustParseAddrPort(fmt.Sprintf("240.0.0.%d:80", i+1)),
				netip.MustParseAddrPort(fmt.Sprintf("[fd57:6566:7400::%d]:80", i+1)),
				netip.MustParseAddrPort(fmt.Sprintf("127.0.0.1:%d", 10001+i)),
			},
			Protocol: protocol,
			Routes:   everythingTo(service),
		})
		c.Clusters = append(c.Clusters, proxy.Cluster{
			Name: service, Service: service, ConnectTimeout: proxy.Duration(5 * time.Second), HTTP2: i%2 == 0,
			TLS: &proxy.PeerTLS{PeerURI: "spiffe://default/" + service, SNI: service + "{mesh=default}"},
		})
	}
	return c
}

func everythingTo(cluster string) proxy.Routes {
	return proxy.Routes{Rules: []proxy.Route{{To: []proxy.Weighted{{Cluster: cluster, Weight: 1}}}}}
}

// bare is plan on a host whose traffic is not redirected.
func bare() *proxy.Config {
	c := plan()
	c.Transparent = nil
	for i := range c.Inbounds {
		c.Inbounds[i].Workload = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), c.Inbounds[i].Workload.Port())
	}
	c.Inbounds = append(c.Inbounds, proxy.Inbound{
		Name: "six", Listen: netip.MustParseAddrPort("[2001:db8::1]:8080"), Workload: netip.MustParseAddrPort("[::1]:8080"),
		Protocol: proxy.HTTP, Access: proxy.Access{Mode: proxy.Strict},
	})
	return c
}

func closedToOutside() *proxy.Config {
	c := plan()
	c.Transparent.Passthrough = false
	return c
}

// plain is a plan in a mesh without mTLS.
func plain() *proxy.Config {
	c := plan()
	c.Identity = nil
	c.Inbounds = c.Inbounds[12:] // those in mode plain
	for i := range c.Clusters {
		c.Clusters[i].TLS = nil
	}
	return c
}

func mustRender(t *testing.T, c *proxy.Config) *render.Bundle {
	t.Helper()
	b, err := render.Resources(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEnvoyAcceptsEveryForm(t *testing.T) {
	for name, c := range map[string]*proxy.Config{
		"redirected": plan(), "bare": bare(), "closed to the outside": closedToOutside(), "no mTLS": plain(),
		"nothing": {ID: proxy.ID{Mesh: "default", Name: "web-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := mustRender(t, c)
			envoytest.Accept(t, envoytest.Told{Name: name, Bundle: b})
			for _, list := range [][]render.Resource{b.Listeners, b.Clusters, b.Routes} {
				for _, r := range list {
					if v, ok := r.Message.(interface{ ValidateAll() error }); !ok || v.ValidateAll() != nil {
						t.Errorf("%s is not valid: %v", r.Name, v.ValidateAll())
					}
				}
			}
		})
	}
}

func TestNames(t *testing.T) {
	c := plan()
	c.Inbounds = c.Inbounds[2:3] // strict http
	c.Outbounds, c.Clusters = c.Outbounds[2:3], c.Clusters[2:3]
	b := mustRender(t, c)
	for _, list := range []struct {
		kind string
		got  []render.Resource
		want []string
	}{
		{"listeners", b.Listeners, []string{
			"inbound:192.0.2.1:8003", "inbound:passthrough:ipv4", "inbound:passthrough:ipv6",
			"outbound:127.0.0.1:10003", "outbound:240.0.0.3:80", "outbound:[fd57:6566:7400::3]:80",
			"outbound:passthrough:ipv4", "outbound:passthrough:ipv6",
		}},
		{"clusters", b.Clusters, []string{
			"api-http", "localhost:8003", "outbound:passthrough:ipv4", "outbound:passthrough:ipv6",
		}},
		{"routes", b.Routes, []string{"outbound:api-http"}},
	} {
		var names []string
		for _, r := range list.got {
			names = append(names, r.Name)
		}
		if !slices.Equal(names, list.want) {
			t.Errorf("%s\n%q, want\n%q", list.kind, names, list.want)
		}
	}
}

func TestEqualPlansAreEqualBytes(t *testing.T) {
	first := mustRender(t, plan())
	text, err := render.YAML(first)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		again := mustRender(t, plan())
		if a, b := mustVersion(t, first), mustVersion(t, again); a != b {
			t.Fatalf("version %s, then %s", a, b)
		}
		same, err := render.YAML(again)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(text, same) {
			t.Fatal("the YAML differs")
		}
	}
}

func mustVersion(t *testing.T, b *render.Bundle) string {
	t.Helper()
	v, err := b.Version()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVersionTellsPlansApart(t *testing.T) {
	seen := map[string]string{}
	for name, change := range map[string]func(*proxy.Config){
		"nothing":         func(*proxy.Config) {},
		"policy":          func(c *proxy.Config) { c.Inbounds[0].Access.Policy = "others" },
		"principal":       func(c *proxy.Config) { c.Inbounds[0].Access.Allow[0].URIs = []string{"spiffe://default/other"} },
		"nobody":          func(c *proxy.Config) { c.Inbounds[0].Access.Allow = nil },
		"peer":            func(c *proxy.Config) { c.Clusters[0].TLS.PeerURI = "spiffe://default/other" },
		"passthrough":     func(c *proxy.Config) { c.Transparent.Passthrough = false },
		"one inbound":     func(c *proxy.Config) { c.Inbounds = c.Inbounds[:1] },
		"connect timeout": func(c *proxy.Config) { c.Clusters[0].ConnectTimeout = proxy.Duration(time.Second) },
	} {
		c := plan()
		change(c)
		v := mustVersion(t, mustRender(t, c))
		if other, ok := seen[v]; ok {
			t.Errorf("%q and %q have one version", name, other)
		}
		seen[v] = name
	}
}

func TestContradictionsAreRefused(t *testing.T) {
	tests := []struct {
		name   string
		change func(*proxy.Config)
		want   string
	}{
		{"address taken twice", func(c *proxy.Config) { c.Inbounds[1].Listen = c.Inbounds[0].Listen }, `listener "inbound:192.0.2.1:8001" is planned twice`},
		{"one cluster, two ways", func(c *proxy.Config) { c.Clusters[1].Name = c.Clusters[0].Name }, `cluster "api-tcp" is planned twice`},
		{"mTLS without identity", func(c *proxy.Config) { c.Identity = nil }, "the proxy has no identity"},
		{"unknown mode", func(c *proxy.Config) { c.Inbounds[0].Access.Mode = "lax" }, `inbound "8001": access mode "lax" is not known`},
		{"no mode", func(c *proxy.Config) { c.Inbounds[0].Access.Mode = "" }, `access mode "" is not known`},
		{"no address", func(c *proxy.Config) { c.Inbounds[0].Listen = netip.AddrPort{} }, `inbound "8001": needs an address`},
		{"no outbound address", func(c *proxy.Config) { c.Outbounds[0].Listen[0] = netip.AddrPort{} }, `outbound "api-tcp": listens at no valid address`},
		{"no collector", func(c *proxy.Config) { c.Tracing = &proxy.Tracing{Backend: "z"} }, `tracing "z": has no collector`},
		{"metrics by mTLS without identity", func(c *proxy.Config) {
			c.Identity, c.Inbounds, c.Clusters = nil, nil, nil
			c.Metrics = &proxy.Metrics{Listen: c.Outbounds[0].Listen[0], TLS: proxy.MetricsMesh, Access: &proxy.Access{}}
		}, "metrics: is planned with mTLS, but the proxy has no identity"},
		{"metrics for nobody knows whom", func(c *proxy.Config) {
			c.Metrics = &proxy.Metrics{Listen: netip.MustParseAddrPort("192.0.2.1:5670"), TLS: proxy.MetricsMesh}
		}, "metrics: is planned with mTLS"},
		{"metrics in no known way", func(c *proxy.Config) {
			c.Metrics = &proxy.Metrics{Listen: netip.MustParseAddrPort("192.0.2.1:5670"), TLS: "lax"}
		}, `metrics: mode "lax" is not known`},
		{"metrics nowhere", func(c *proxy.Config) { c.Metrics = &proxy.Metrics{TLS: proxy.MetricsPlain} }, "metrics: need an address"},
		{"probes nowhere", func(c *proxy.Config) { c.Probes = &proxy.Probes{} }, "probes: need an address"},
		{"probes of no inbound", func(c *proxy.Config) {
			c.Probes = &proxy.Probes{Listen: netip.MustParseAddrPort("192.0.2.1:9000"), Paths: []proxy.ProbePath{{Path: "/a", Inbound: "nobody", To: "/b"}}}
		}, `probes: there is no inbound "nobody"`},
		{"not UTF-8", func(c *proxy.Config) { c.Inbounds[2].Service = "a\xff" }, "UTF-8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := plan()
			tt.change(c)
			b, err := render.Resources(c)
			if err == nil || b != nil {
				t.Fatalf("bundle %v, error %v, want an error alone", b, err)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q lacks %q", err, tt.want)
			}
		})
	}
}

// Two workloads of one host may share a port.
func TestWorkloadsOfOnePort(t *testing.T) {
	c := bare()
	c.Inbounds = c.Inbounds[:1]
	for i, w := range []struct{ at, protocol string }{{"127.0.0.1:8001", proxy.HTTP}, {"127.0.0.2:8001", proxy.TCP}, {"127.0.0.2:8001", proxy.HTTP2}} {
		in := c.Inbounds[0]
		in.Listen = netip.AddrPortFrom(netip.MustParseAddr("192.0.2.9"), uint16(i+1))
		in.Workload, in.Protocol = netip.MustParseAddrPort(w.at), w.protocol
		c.Inbounds = append(c.Inbounds, in)
	}
	c.Outbounds, c.Clusters = nil, nil
	var names []string
	for _, r := range mustRender(t, c).Clusters {
		names = append(names, r.Name)
	}
	want := []string{"localhost:127.0.0.2:8001", "localhost:127.0.0.2:8001:http2", "localhost:8001"}
	if !slices.Equal(names, want) {
		t.Errorf("clusters %q, want %q", names, want)
	}
}

func TestEndpoints(t *testing.T) {
	got := render.Endpoints(proxy.Endpoints{Cluster: "api", Members: []proxy.Endpoint{
		{Address: netip.MustParseAddrPort("192.0.2.2:80"), Zone: "b", Tags: map[string]string{"version": "1"}},
		{Address: netip.MustParseAddrPort("[2001:db8::1]:80"), Zone: "a"},
		{Address: netip.MustParseAddrPort("192.0.2.1:80"), Zone: "b"},
		{Address: netip.MustParseAddrPort("192.0.2.3:80")},
	}})
	want := &endpointv3.ClusterLoadAssignment{}
	if err := protojson.Unmarshal([]byte(`{"cluster_name": "api", "endpoints": [
		{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "192.0.2.3", "port_value": 80}}}}]},
		{"locality": {"zone": "a"}, "lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "2001:db8::1", "port_value": 80}}}}]},
		{"locality": {"zone": "b"}, "lb_endpoints": [
			{"endpoint": {"address": {"socket_address": {"address": "192.0.2.1", "port_value": 80}}}},
			{"endpoint": {"address": {"socket_address": {"address": "192.0.2.2", "port_value": 80}}},
			 "metadata": {"filter_metadata": {"envoy.lb": {"version": "1"}}}}]}]}`), want); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, want) {
		t.Errorf("got %s", protojson.Format(got))
	}
	if none := render.Endpoints(proxy.Endpoints{Cluster: "api"}); none.ClusterName != "api" || len(none.Endpoints) != 0 {
		t.Errorf("without members: %s", protojson.Format(none))
	}
}
