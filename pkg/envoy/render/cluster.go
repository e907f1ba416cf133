package render

import (
	"fmt"
	"math"
	"net/netip"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	upstreamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/weft-mesh/weft/pkg/proxy"
)

const (
	workloadConnectTimeout    = 10 * time.Second
	passthroughConnectTimeout = 10 * time.Second
	// passthroughCleanup is how long a destination outside of the mesh is
	// remembered after its last connection.
	passthroughCleanup = time.Minute
	// outboundConnectTimeout holds where the plan gives none.
	outboundConnectTimeout = 5 * time.Second
)

// A workload is what a local cluster depends on.
type workload struct {
	at    netip.AddrPort
	http2 bool
}

// localCluster makes the cluster of in's workload, once, and returns its name:
// "localhost:<port>", whatever the address. Only where two workloads of a host
// share a port does the second one's name say more.
func (r *renderer) localCluster(in proxy.Inbound) string {
	w := workload{at: in.Workload, http2: in.Protocol == proxy.HTTP2 || in.Protocol == proxy.GRPC}
	if name, ok := r.local[w]; ok {
		return name
	}
	name := fmt.Sprintf("localhost:%d", w.at.Port())
	for other := range r.local {
		if other.at.Port() == w.at.Port() {
			name = "localhost:" + w.at.String()
			if w.http2 {
				name += ":http2"
			}
			break
		}
	}
	r.local[w] = name

	c := newCluster(name, workloadConnectTimeout)
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	c.LoadAssignment = &endpointv3.ClusterLoadAssignment{
		ClusterName: name,
		Endpoints:   []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{endpoint(w.at)}}},
	}
	c.UpstreamBindConfig = r.marked(proxy.MarkInbound)
	c.Metadata = probeMetadata(in.Probe)
	if w.http2 {
		c.TypedExtensionProtocolOptions = r.http2(nil)
	}
	r.cluster(name, c)
	return name
}

// probeMetadata tells the agent how to ask the workload.
func probeMetadata(p *proxy.Probe) *corev3.Metadata {
	if p == nil {
		return nil
	}
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{proxy.ProbeMetadata: {Fields: map[string]*structpb.Value{
		"interval":  structpb.NewStringValue(time.Duration(p.Interval).String()),
		"timeout":   structpb.NewStringValue(time.Duration(p.Timeout).String()),
		"unhealthy": structpb.NewNumberValue(float64(p.Unhealthy)),
		"healthy":   structpb.NewNumberValue(float64(p.Healthy)),
	}}}}
}

// outboundCluster makes the cluster of a service; its endpoints come apart.
func (r *renderer) outboundCluster(p proxy.Cluster) {
	if p.TLS != nil && r.cfg.Identity == nil {
		r.fail("cluster %q: %w", p.Name, errNoIdentity)
		return
	}
	timeout := time.Duration(p.ConnectTimeout)
	if timeout <= 0 {
		timeout = outboundConnectTimeout
	}
	c := newCluster(p.Name, timeout)
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}
	c.EdsClusterConfig = &clusterv3.Cluster_EdsClusterConfig{EdsConfig: ads(), ServiceName: p.Endpoints}
	c.UpstreamBindConfig = r.marked(proxy.MarkOutbound)
	if p.HTTP2 {
		c.TypedExtensionProtocolOptions = r.http2(&p.HTTPIdle)
	}
	if p.TLS != nil {
		c.TransportSocket = r.upstreamTLS(r.cfg.Identity, p.TLS)
	}
	loadBalancing(c, p.LoadBalancer)
	r.healthChecks(c, p)
	outlierDetection(c, p.Outlier)
	circuitBreakers(c, p.Limits)
	if p.External != nil {
		r.outside(c, p)
	}
	r.cluster(p.Name, c)
}

// newCluster has no limits but those of the host: a limit is a policy, and
// Envoy's own 1024 connections and requests and 3 retries would be one that nobody wrote.
func newCluster(name string, connect time.Duration) *clusterv3.Cluster {
	c := &clusterv3.Cluster{
		Name:           name,
		AltStatName:    statName(name),
		ConnectTimeout: durationpb.New(connect),
	}
	circuitBreakers(c, &proxy.Limits{Connections: math.MaxUint32, Pending: math.MaxUint32, Requests: math.MaxUint32, Retries: math.MaxUint32})
	return c
}

// http2 makes a cluster speak HTTP/2, with WebSockets in it; idle is how long a
// connection may be without requests, nil leaves that to Envoy.
func (r *renderer) http2(idle *proxy.Duration) map[string]*anypb.Any {
	key := "http2"
	var common *corev3.HttpProtocolOptions
	if idle != nil {
		key += time.Duration(*idle).String()
		common = &corev3.HttpProtocolOptions{IdleTimeout: durationpb.New(time.Duration(*idle))}
	}
	return map[string]*anypb.Any{
		"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": r.shared(key, func() proto.Message {
			return &upstreamv3.HttpProtocolOptions{
				CommonHttpProtocolOptions: common,
				UpstreamProtocolOptions: &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig_{
					ExplicitHttpConfig: &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig{
						ProtocolConfig: &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
							Http2ProtocolOptions: &corev3.Http2ProtocolOptions{AllowConnect: true},
						},
					},
				},
			}
		}),
	}
}
