package render

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// meshALPN is what proxies of a mesh say to each other, by which a permissive
// inbound tells them from the TLS of the workload itself.
const meshALPN = "kuma"

// curves are the key agreements between proxies: hybrid post-quantum first.
var curves = []string{"X25519MLKEM768", "X25519"}

// downstreamTLS lets in who shows a certificate of the mesh.
func (r *renderer) downstreamTLS(id *proxy.Identity) *corev3.TransportSocket {
	trust := &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{
		Prefix: "spiffe://" + id.TrustDomain + "/",
	}}
	return r.tlsSocket(&tlsv3.DownstreamTlsContext{
		CommonTlsContext:         meshTLS(id, trust),
		RequireClientCertificate: wrapperspb.Bool(true),
		// A resumed session would not show its certificate again, and so
		// outlive it and a change of the roots.
		SessionTicketKeysType: &tlsv3.DownstreamTlsContext_DisableStatelessSessionResumption{
			DisableStatelessSessionResumption: true,
		},
		DisableStatefulSessionResumption: true,
	})
}

// upstreamTLS calls a peer that must show the planned identity.
func (r *renderer) upstreamTLS(id *proxy.Identity, peer *proxy.PeerTLS) *corev3.TransportSocket {
	who := &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: peer.PeerURI}}
	common := meshTLS(id, who)
	common.AlpnProtocols = []string{meshALPN}
	return r.tlsSocket(&tlsv3.UpstreamTlsContext{
		CommonTlsContext: common,
		Sni:              peer.SNI,
		MaxSessionKeys:   wrapperspb.UInt32(0), // no resumption, as downstream
	})
}

// meshTLS is what both ends have: the host's own certificate, the mesh's roots,
// and which URI the peer's certificate must carry.
func meshTLS(id *proxy.Identity, peer *matcherv3.StringMatcher) *tlsv3.CommonTlsContext {
	return &tlsv3.CommonTlsContext{
		TlsParams: &tlsv3.TlsParameters{
			TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
			TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
			EcdhCurves:                curves,
		},
		TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{{
			Name:      proxy.IdentitySecret(id.TrustDomain),
			SdsConfig: sds(),
		}},
		ValidationContextType: &tlsv3.CommonTlsContext_CombinedValidationContext{
			CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
				DefaultValidationContext: &tlsv3.CertificateValidationContext{
					MatchTypedSubjectAltNames: []*tlsv3.SubjectAltNameMatcher{uriSAN(peer)},
				},
				ValidationContextSdsSecretConfig: &tlsv3.SdsSecretConfig{
					Name:      proxy.RootsSecret(id.TrustDomain),
					SdsConfig: sds(),
				},
			},
		},
	}
}

func uriSAN(m *matcherv3.StringMatcher) *tlsv3.SubjectAltNameMatcher {
	return &tlsv3.SubjectAltNameMatcher{SanType: tlsv3.SubjectAltNameMatcher_URI, Matcher: m}
}

func (r *renderer) tlsSocket(context proto.Message) *corev3.TransportSocket {
	return &corev3.TransportSocket{
		Name:       "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: r.any(context)},
	}
}
