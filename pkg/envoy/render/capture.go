package render

import (
	"net/netip"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// families are the addresses of the capture listeners: one for each address
// family, since Envoy reads original destinations wrongly from sockets that
// take both.
var families = []struct {
	name          string
	any, loopback netip.Addr
	// closed are destinations that nobody is led to: loopback, which is never
	// redirected and so means that somebody called the capture listener
	// itself and would be led in a circle, and services that are not there.
	closed []netip.Prefix
}{
	{proxy.IPv4, netip.IPv4Unspecified(), netip.MustParseAddr("127.0.0.1"),
		[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), proxy.VIP4}},
	{proxy.IPv6, netip.IPv6Unspecified(), netip.IPv6Loopback(),
		[]netip.Prefix{netip.MustParsePrefix("::1/128"), proxy.VIP6}},
}

// captures renders the listeners to which the host's traffic is redirected.
// They hand each connection to the listener of its original destination; what
// has none they treat themselves.
func (r *renderer) captures(t proxy.Transparent) {
	for _, f := range families {
		if !t.Has(f.name) {
			continue
		}
		if t.InboundPort != 0 {
			r.captureInbound(f.name, netip.AddrPortFrom(f.any, t.InboundPort))
		}
		if t.OutboundPort != 0 {
			at := netip.AddrPortFrom(f.loopback, t.OutboundPort)
			if t.Forwarded {
				at = netip.AddrPortFrom(f.any, t.OutboundPort)
			}
			r.captureOutbound(f.name, at, f.closed, t)
		}
	}
}

// captureInbound takes connections that keep their destination (TPROXY). A
// port that no inbound declares leads nowhere.
func (r *renderer) captureInbound(family string, at netip.AddrPort) {
	name := "inbound:passthrough:" + family
	in := newCapture(name, at, corev3.TrafficDirection_INBOUND)
	in.Transparent = wrapperspb.Bool(true)
	in.FilterChains = []*listenerv3.FilterChain{closed()}
	r.listener(name, in)
}

// captureOutbound takes connections that are redirected to loopback, so that
// nobody else can call it; what the host forwards for containers is redirected
// to its address towards them. Who calls the listener itself, and would be led
// in a circle, is led nowhere.
func (r *renderer) captureOutbound(family string, at netip.AddrPort, unreachable []netip.Prefix, t proxy.Transparent) {
	name := "outbound:passthrough:" + family
	out := newCapture(name, at, corev3.TrafficDirection_OUTBOUND)
	if t.Forwarded {
		out.Transparent = wrapperspb.Bool(true) // some engines hand over the socket, and find no others
	}
	out.FilterChains = []*listenerv3.FilterChain{closed()}
	if t.Passthrough {
		out.FilterChains = []*listenerv3.FilterChain{closed(unreachable...), {
			Name:    "passthrough",
			Filters: []*listenerv3.Filter{r.tcpProxy(name, name, 0, t.AccessLogs...)},
		}}
		if t.Forwarded {
			itself := closed()
			itself.Name = "itself"
			itself.FilterChainMatch = &listenerv3.FilterChainMatch{DestinationPort: wrapperspb.UInt32(uint32(at.Port()))}
			out.FilterChains = append(out.FilterChains, itself)
		}
		r.cluster(name, r.originalDestination(name))
	}
	r.listener(name, out)
}

func newCapture(name string, at netip.AddrPort, direction corev3.TrafficDirection) *listenerv3.Listener {
	l := newListener(name, at, direction)
	l.UseOriginalDst = wrapperspb.Bool(true)
	return l
}

// closed closes every connection to the destinations, or all where there are
// none: that is what Envoy does with a chain that has no filter.
func closed(destinations ...netip.Prefix) *listenerv3.FilterChain {
	c := &listenerv3.FilterChain{Name: "closed"}
	for _, p := range destinations {
		if c.FilterChainMatch == nil {
			c.FilterChainMatch = &listenerv3.FilterChainMatch{}
		}
		c.FilterChainMatch.PrefixRanges = append(c.FilterChainMatch.PrefixRanges, prefix(p))
	}
	return c
}

// originalDestination is a cluster whose endpoint is whatever the caller meant.
func (r *renderer) originalDestination(name string) *clusterv3.Cluster {
	c := newCluster(name, passthroughConnectTimeout)
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_ORIGINAL_DST}
	c.LbPolicy = clusterv3.Cluster_CLUSTER_PROVIDED
	c.CleanupInterval = durationpb.New(passthroughCleanup)
	c.UpstreamBindConfig = r.marked(proxy.MarkOutbound)
	return c
}
