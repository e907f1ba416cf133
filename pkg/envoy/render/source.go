package render

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// fetchTimeout is how long a listener or cluster waits for the endpoints,
// routes or secrets that it names before it goes into use without. Envoy's
// own 15 s would let one missing answer hold up a whole host's start.
const fetchTimeout = 5 * time.Second

// ads says that a resource comes over the proxy's one xDS stream.
func ads() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
		InitialFetchTimeout:   durationpb.New(fetchTimeout),
		ResourceApiVersion:    corev3.ApiVersion_V3,
	}
}

// sds says that a secret comes from the agent on the proxy's own host.
func sds() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ConfigSourceSpecifier: &corev3.ConfigSource_ApiConfigSource{ApiConfigSource: &corev3.ApiConfigSource{
			ApiType:             corev3.ApiConfigSource_GRPC,
			TransportApiVersion: corev3.ApiVersion_V3,
			GrpcServices: []*corev3.GrpcService{{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
				EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: proxy.SDSCluster},
			}}},
			SetNodeOnFirstMessageOnly: true,
		}},
		InitialFetchTimeout: durationpb.New(fetchTimeout),
		ResourceApiVersion:  corev3.ApiVersion_V3,
	}
}
