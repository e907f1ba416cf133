package render

import (
	"fmt"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/pkg/proxy"
)

const (
	// inspectTimeout is how long a permissive inbound waits for a caller's
	// first bytes. A caller that waits for the server to speak first is plain.
	inspectTimeout = 3 * time.Second
	// handshakeTimeout is how long a caller may take to show who he is. Whoever
	// never does would hold one of the proxy's connections for good.
	handshakeTimeout = 10 * time.Second
	// inboundTCPIdle ends connections to the workload that carry nothing.
	inboundTCPIdle = 2 * time.Hour
)

// inboundChains gives l the chains of in's mode. A mode that is not known is
// no mode: nothing is let in.
func (r *renderer) inboundChains(l *listenerv3.Listener, in proxy.Inbound, local string) error {
	switch in.Access.Mode {
	case proxy.Plain:
		l.FilterChains = []*listenerv3.FilterChain{r.plainChain(l.Name, in, local)}
		return nil
	case proxy.Strict:
		if r.cfg.Identity == nil {
			return errNoIdentity
		}
		l.FilterChains = []*listenerv3.FilterChain{r.meshChain(l.Name, in, local)}
		return nil
	case proxy.Permissive:
		if r.cfg.Identity == nil {
			return errNoIdentity
		}
		r.permissive(l, in, local)
		return nil
	}
	return fmt.Errorf("access mode %q is not known", in.Access.Mode)
}

// permissive parts the mesh's mTLS from plain traffic and from TLS that the
// workload itself speaks.
func (r *renderer) permissive(l *listenerv3.Listener, in proxy.Inbound, local string) {
	plain := r.plainChain(l.Name, in, local)
	plain.FilterChainMatch = &listenerv3.FilterChainMatch{TransportProtocol: "raw_buffer"}

	own := &listenerv3.FilterChain{
		Name:             "tls",
		FilterChainMatch: &listenerv3.FilterChainMatch{TransportProtocol: "tls"},
		Filters:          []*listenerv3.Filter{r.tcpProxy(local, local, inboundTCPIdle)},
	}

	mesh := r.meshChain(l.Name, in, local)
	mesh.FilterChainMatch = &listenerv3.FilterChainMatch{
		TransportProtocol:    "tls",
		ApplicationProtocols: []string{meshALPN},
	}

	l.FilterChains = []*listenerv3.FilterChain{plain, own, mesh}
	l.ListenerFilters = []*listenerv3.ListenerFilter{{
		Name: "envoy.filters.listener.tls_inspector",
		ConfigType: &listenerv3.ListenerFilter_TypedConfig{
			TypedConfig: r.any(&tlsinspectorv3.TlsInspector{}),
		},
	}}
	l.ListenerFiltersTimeout = durationpb.New(inspectTimeout)
	l.ContinueOnListenerFiltersTimeout = true
}

// meshChain ends the mesh's mTLS and asks who is there before anything else.
func (r *renderer) meshChain(listener string, in proxy.Inbound, local string) *listenerv3.FilterChain {
	return &listenerv3.FilterChain{
		Name:                          "mesh",
		TransportSocket:               r.downstreamTLS(r.cfg.Identity),
		TransportSocketConnectTimeout: durationpb.New(handshakeTimeout),
		Filters:                       []*listenerv3.Filter{r.rbac(listener, in.Access), r.toWorkload(listener, in, local, certificate)},
	}
}

// plainChain takes everybody. His word counts only where nobody could have a
// certificate.
func (r *renderer) plainChain(listener string, in proxy.Inbound, local string) *listenerv3.FilterChain {
	callers := nothing
	if in.Access.Mode == proxy.Plain {
		callers = header
	}
	return &listenerv3.FilterChain{
		Name:    "plain",
		Filters: []*listenerv3.Filter{r.toWorkload(listener, in, local, callers)},
	}
}

// toWorkload is the last filter of an inbound chain.
func (r *renderer) toWorkload(listener string, in proxy.Inbound, local string, callers witness) *listenerv3.Filter {
	if isHTTP(in.Protocol) {
		return r.inboundHTTP(listener, in, local, callers)
	}
	return r.tcpProxy(local, local, inboundTCPIdle)
}

// outboundChain leads where out's routes lead. A chain without a filter closes
// every connection.
func (r *renderer) outboundChain(out proxy.Outbound) *listenerv3.FilterChain {
	chain := &listenerv3.FilterChain{Name: out.Name}
	if isHTTP(out.Protocol) {
		chain.Filters = append(r.callerKey(out), r.outboundHTTP(out))
		return chain
	}
	for _, rule := range out.Routes.Rules {
		if rule.Match != nil {
			continue
		}
		if len(rule.To) > 0 {
			chain.Filters = append(r.callerKey(out), r.outboundTCP(out, rule))
		}
		break
	}
	return chain
}

// tcpProxy passes bytes on to a cluster; idle 0 lets silent connections be.
func (r *renderer) tcpProxy(stat, cluster string, idle time.Duration, logs ...proxy.AccessLog) *listenerv3.Filter {
	return r.filter("envoy.filters.network.tcp_proxy", &tcpproxyv3.TcpProxy{
		StatPrefix:       statName(stat),
		ClusterSpecifier: &tcpproxyv3.TcpProxy_Cluster{Cluster: cluster},
		IdleTimeout:      durationpb.New(idle),
		AccessLog:        r.accessLogs(logs),
	})
}

// outboundTCP passes the bytes of a connection on to one of rule's clusters.
func (r *renderer) outboundTCP(out proxy.Outbound, rule proxy.Route) *listenerv3.Filter {
	p := &tcpproxyv3.TcpProxy{
		StatPrefix:  statName(out.Name),
		IdleTimeout: durationpb.New(time.Duration(out.Timeouts.TCPIdle)),
		HashPolicy:  r.connectionHash(rule),
		AccessLog:   r.accessLogs(out.AccessLogs),
	}
	if out.Retry != nil && out.Retry.Connects > 0 {
		p.MaxConnectAttempts = wrapperspb.UInt32(out.Retry.Connects)
	}
	if len(rule.To) == 1 {
		p.ClusterSpecifier = &tcpproxyv3.TcpProxy_Cluster{Cluster: rule.To[0].Cluster}
	} else {
		split := &tcpproxyv3.TcpProxy_WeightedCluster{}
		for _, to := range rule.To {
			split.Clusters = append(split.Clusters, &tcpproxyv3.TcpProxy_WeightedCluster_ClusterWeight{Name: to.Cluster, Weight: to.Weight})
		}
		p.ClusterSpecifier = &tcpproxyv3.TcpProxy_WeightedClusters{WeightedClusters: split}
	}
	return r.filter("envoy.filters.network.tcp_proxy", p)
}

func isHTTP(protocol string) bool { return proxy.IsHTTP(protocol) }
