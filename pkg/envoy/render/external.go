package render

import (
	"net/netip"
	"slices"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	dnsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/common/dns/v3"
	dnsclusterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dns/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	upstreamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// lookUpAgain is how often names outside are looked up where their answers say
// nothing of how long they hold.
const lookUpAgain = 5 * time.Second

// outside gives a cluster its members outside of the mesh: they stand in it.
func (r *renderer) outside(c *clusterv3.Cluster, p proxy.Cluster) {
	c.EdsClusterConfig = nil
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	c.LoadAssignment = &endpointv3.ClusterLoadAssignment{ClusterName: p.Name}
	if slices.ContainsFunc(p.External.Members, func(m proxy.ExternalMember) bool { return !isAddress(m.Host) }) {
		c.ClusterDiscoveryType = &clusterv3.Cluster_ClusterType{ClusterType: &clusterv3.Cluster_CustomClusterType{
			Name: "envoy.clusters.dns",
			TypedConfig: r.any(&dnsclusterv3.DnsCluster{
				DnsLookupFamily: lookupFamily(p.External),
				DnsRefreshRate:  durationpb.New(lookUpAgain),
				RespectDnsTtl:   true,
			}),
		}}
	}
	if !p.HTTP2 && p.HTTPIdle != 0 {
		c.TypedExtensionProtocolOptions = r.http1(p.HTTPIdle)
	}
	type place struct {
		zone     string
		priority uint32
	}
	places := map[place]*endpointv3.LocalityLbEndpoints{}
	for _, m := range p.External.Members {
		at := place{m.Zone, m.Priority}
		if places[at] == nil {
			places[at] = &endpointv3.LocalityLbEndpoints{Priority: m.Priority}
			if m.Zone != "" {
				places[at].Locality = &corev3.Locality{Zone: m.Zone}
			}
			c.LoadAssignment.Endpoints = append(c.LoadAssignment.Endpoints, places[at])
		}
		places[at].LbEndpoints = append(places[at].LbEndpoints, externalEndpoint(m, p.HealthCheck))
		if m.TLS != nil {
			c.TransportSocketMatches = append(c.TransportSocketMatches, &clusterv3.Cluster_TransportSocketMatch{
				Name:            m.From.Name,
				Match:           whose(m),
				TransportSocket: r.serverTLS(m.TLS, p),
			})
		}
	}
}

// http1 ends connections of HTTP/1.1 that are idle for so long.
func (r *renderer) http1(idle proxy.Duration) map[string]*anypb.Any {
	return map[string]*anypb.Any{
		"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": r.any(&upstreamv3.HttpProtocolOptions{
			CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{IdleTimeout: durationpb.New(time.Duration(idle))},
			UpstreamProtocolOptions: &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{},
			}},
		}),
	}
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

func lookupFamily(e *proxy.External) dnsv3.DnsLookupFamily {
	switch {
	case e.Family == proxy.IPv4:
		return dnsv3.DnsLookupFamily_V4_ONLY
	case e.Family == proxy.IPv6:
		return dnsv3.DnsLookupFamily_V6_ONLY
	case e.IPv6First:
		return dnsv3.DnsLookupFamily_AUTO
	default:
		return dnsv3.DnsLookupFamily_V4_PREFERRED
	}
}

func externalEndpoint(m proxy.ExternalMember, check *proxy.HealthCheck) *endpointv3.LbEndpoint {
	ep := &endpointv3.LbEndpoint{
		HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
			Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
				Address: m.Host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(m.Port)},
			}}},
		}},
		Metadata: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{}},
	}
	if len(m.Tags) > 0 {
		ep.Metadata.FilterMetadata["envoy.lb"] = tagStruct(m.Tags)
	}
	if check != nil && check.HTTP != nil {
		// A server outside may have several hosts, and knows none by the
		// name of the service.
		ep.GetEndpoint().HealthCheckConfig = &endpointv3.Endpoint_HealthCheckConfig{Hostname: m.Host}
	}
	if m.TLS != nil {
		ep.Metadata.FilterMetadata["envoy.transport_socket_match"] = whose(m)
	}
	return ep
}

// whose ties a member to its own TLS: of several under one service each has
// its own.
func whose(m proxy.ExternalMember) *structpb.Struct {
	return tagStruct(map[string]string{"member": m.From.Name})
}

// serverTLS calls a server outside as the plan says. It takes what servers of
// the last ten years speak.
func (r *renderer) serverTLS(t *proxy.ServerTLS, p proxy.Cluster) *corev3.TransportSocket {
	roots := &tlsv3.SdsSecretConfig{Name: t.Roots, SdsConfig: ads()}
	if t.Roots == proxy.SystemRoots {
		roots.SdsConfig = sds()
	}
	validation := &tlsv3.CertificateValidationContext{}
	if t.Name != "" {
		kind := tlsv3.SubjectAltNameMatcher_DNS
		if isAddress(t.Name) {
			kind = tlsv3.SubjectAltNameMatcher_IP_ADDRESS
		}
		validation.MatchTypedSubjectAltNames = []*tlsv3.SubjectAltNameMatcher{{
			SanType: kind,
			Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: t.Name}},
		}}
	}
	common := &tlsv3.CommonTlsContext{
		TlsParams: &tlsv3.TlsParameters{
			TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2,
			TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
		},
		ValidationContextType: &tlsv3.CommonTlsContext_CombinedValidationContext{
			CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
				DefaultValidationContext:         validation,
				ValidationContextSdsSecretConfig: roots,
			},
		},
	}
	if p.HTTP2 {
		common.AlpnProtocols = []string{"h2"}
	}
	if t.Certificate != "" {
		common.TlsCertificateSdsSecretConfigs = []*tlsv3.SdsSecretConfig{{Name: t.Certificate, SdsConfig: ads()}}
	}
	return r.tlsSocket(&tlsv3.UpstreamTlsContext{
		CommonTlsContext:   common,
		Sni:                t.SNI,
		AllowRenegotiation: t.Renegotiation,
	})
}
