package render

import (
	"net"
	"net/netip"
	"strconv"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	tracev3 "github.com/envoyproxy/go-control-plane/envoy/config/trace/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// collectorTimeout is how long a connection to a collector of spans may take.
const collectorTimeout = 5 * time.Second

// tracing has a connection manager report spans, nil where the plan has none.
// towards is the service that is called, "" for the workload itself.
func (r *renderer) tracing(direction corev3.TrafficDirection, towards string) *hcmv3.HttpConnectionManager_Tracing {
	t := r.cfg.Tracing
	if t == nil {
		return nil
	}
	return &hcmv3.HttpConnectionManager_Tracing{
		OverallSampling: &typev3.Percent{Value: t.Sampling},
		Provider:        r.tracer(t, direction, towards),
	}
}

func (r *renderer) tracer(t *proxy.Tracing, direction corev3.TrafficDirection, towards string) *tracev3.Tracing_Http {
	if z := t.Zipkin; z != nil {
		version := tracev3.ZipkinConfig_HTTP_JSON
		if z.Protobuf {
			version = tracev3.ZipkinConfig_HTTP_PROTO
		}
		return r.tracerConfig("envoy.tracers.zipkin", &tracev3.ZipkinConfig{
			CollectorCluster:         collectorName(t),
			CollectorHostname:        net.JoinHostPort(z.Host, strconv.Itoa(int(z.Port))),
			CollectorEndpoint:        z.Path,
			CollectorEndpointVersion: version,
			TraceId_128Bit:           z.TraceID128,
			SharedSpanContext:        wrapperspb.Bool(z.Shared),
		})
	}
	d := t.Datadog
	if d == nil {
		r.fail("tracing %q: has no collector", t.Backend)
		return nil
	}
	service := d.Service
	if d.Split {
		service += "_" + direction.String()
		if towards != "" {
			service += "_" + towards
		}
	}
	return r.tracerConfig("envoy.tracers.datadog", &tracev3.DatadogConfig{
		CollectorCluster:  collectorName(t),
		CollectorHostname: net.JoinHostPort(d.Host, strconv.Itoa(int(d.Port))),
		ServiceName:       service,
	})
}

func (r *renderer) tracerConfig(name string, config proto.Message) *tracev3.Tracing_Http {
	return &tracev3.Tracing_Http{Name: name, ConfigType: &tracev3.Tracing_Http_TypedConfig{TypedConfig: r.any(config)}}
}

func collectorName(t *proxy.Tracing) string { return "tracing:" + t.Backend }

// collector makes the cluster to which spans go.
func (r *renderer) collector(t *proxy.Tracing) {
	host, port := "", uint16(0)
	switch {
	case t.Zipkin != nil:
		host, port = t.Zipkin.Host, t.Zipkin.Port
	case t.Datadog != nil:
		host, port = t.Datadog.Host, t.Datadog.Port
	}
	c := newCluster(collectorName(t), collectorTimeout)
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STRICT_DNS}
	if _, err := netip.ParseAddr(host); err == nil {
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	}
	c.LoadAssignment = &endpointv3.ClusterLoadAssignment{
		ClusterName: c.Name,
		Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
				Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
					Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(port)},
				}}},
			}},
		}}}},
	}
	c.UpstreamBindConfig = r.marked(proxy.MarkOutbound)
	r.cluster(c.Name, c)
}
