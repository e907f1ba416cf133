package render

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	rulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	grpcstatsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/grpc_stats/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// Inbound limits; a request may take as long as it likes.
const (
	inboundHTTPIdle   = 2 * time.Hour
	inboundStreamIdle = time.Hour
)

// inboundHTTP ends HTTP in front of the workload.
func (r *renderer) inboundHTTP(listener string, in proxy.Inbound, local string, callers witness) *listenerv3.Filter {
	h := r.newHCM(local)
	h.Tracing = r.tracing(corev3.TrafficDirection_INBOUND, "")
	h.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: inboundRoute(listener, in.Service, local)}
	h.EarlyHeaderMutationExtensions = append(h.EarlyHeaderMutationExtensions, r.earlyMutation("lookalikes", func() proto.Message { return lookalikes() }))
	h.ForwardClientCertDetails = hcmv3.HttpConnectionManager_SANITIZE_SET
	h.SetCurrentClientCertDetails = &hcmv3.HttpConnectionManager_SetCurrentClientCertDetails{Uri: true}
	h.NormalizePath = wrapperspb.Bool(true)
	h.MergeSlashes = true
	h.PathWithEscapedSlashesAction = hcmv3.HttpConnectionManager_KEEP_UNCHANGED
	h.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{IdleTimeout: durationpb.New(inboundHTTPIdle)}
	h.StreamIdleTimeout = durationpb.New(inboundStreamIdle)
	filters := append(r.faults(callers, in.Faults), r.rateLimits(callers, local, in.RateLimits)...)
	if in.Protocol == proxy.GRPC {
		stats := r.httpFilter("envoy.filters.http.grpc_stats", &grpcstatsv3.FilterConfig{EmitFilterState: true})
		filters = append([]*hcmv3.HttpFilter{stats}, filters...)
	}
	h.HttpFilters = append(filters, h.HttpFilters...)
	return r.filter("envoy.filters.network.http_connection_manager", h)
}

// outboundHTTP takes HTTP from the workload; its routes come apart.
func (r *renderer) outboundHTTP(out proxy.Outbound) *listenerv3.Filter {
	name := outboundRouteName(out)
	r.route(name, r.outboundRoute(name, out))
	h := r.newHCM(out.Name)
	h.AccessLog = r.accessLogs(out.AccessLogs)
	h.Tracing = r.tracing(corev3.TrafficDirection_OUTBOUND, out.Service)
	h.RouteSpecifier = &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{ConfigSource: ads(), RouteConfigName: name}}
	h.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{IdleTimeout: durationpb.New(time.Duration(out.Timeouts.HTTPIdle))}
	h.StreamIdleTimeout = durationpb.New(0) // a policy sets it, in the routes
	h.EarlyHeaderMutationExtensions = append(h.EarlyHeaderMutationExtensions, r.earlyMutation("signature", func() proto.Message { return signature(r.cfg.Tags) }))
	if f, _ := r.routeRateLimit(out.Name, out.RateLimit); f != nil {
		h.HttpFilters = append([]*hcmv3.HttpFilter{f}, h.HttpFilters...)
	}
	return r.filter("envoy.filters.network.http_connection_manager", h)
}

// newHCM is what both directions have.
func (r *renderer) newHCM(stat string) *hcmv3.HttpConnectionManager {
	return &hcmv3.HttpConnectionManager{
		CodecType:                     hcmv3.HttpConnectionManager_AUTO,
		StatPrefix:                    statName(stat),
		HttpFilters:                   []*hcmv3.HttpFilter{r.router()},
		ServerHeaderTransformation:    hcmv3.HttpConnectionManager_PASS_THROUGH,
		InternalAddressConfig:         &hcmv3.HttpConnectionManager_InternalAddressConfig{CidrRanges: []*corev3.CidrRange{prefix(nobody)}},
		EarlyHeaderMutationExtensions: []*corev3.TypedExtensionConfig{r.earlyMutation("steering", func() proto.Message { return steering() })},
		UpgradeConfigs:                []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}},
		Http2ProtocolOptions:          &corev3.Http2ProtocolOptions{AllowConnect: true}, // WebSockets in HTTP/2
	}
}

// nobody is whom Envoy takes for internal: an address that no connection comes
// from. No range at all would mean all private ones.
var nobody = netip.MustParsePrefix("255.255.255.255/32")

// steering takes away the headers by which a caller could steer Envoy, before
// Envoy reads them: policies say what is retried and how long it may take.
// Envoy itself takes them from strangers only, and believes whoever writes
// "x-forwarded-for: 127.0.0.1" that he is none.
func steering() *mutationv3.HeaderMutation {
	return &mutationv3.HeaderMutation{Mutations: []*rulesv3.HeaderMutation{{
		Action: &rulesv3.HeaderMutation_RemoveOnMatch_{RemoveOnMatch: &rulesv3.HeaderMutation_RemoveOnMatch{
			KeyMatcher: &matcherv3.StringMatcher{
				MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: "x-envoy-"},
			},
		}},
	}}}
}

// lookalikes takes away the headers that a workload might take for those by
// which its proxy says who calls: to many (CGI, WSGI, PHP) "_" and "-" in a name
// are one. The real certificate header Envoy writes after this.
func lookalikes() *mutationv3.HeaderMutation {
	return &mutationv3.HeaderMutation{Mutations: []*rulesv3.HeaderMutation{{
		Action: &rulesv3.HeaderMutation_RemoveOnMatch_{RemoveOnMatch: &rulesv3.HeaderMutation_RemoveOnMatch{
			KeyMatcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{
				SafeRegex: &matcherv3.RegexMatcher{Regex: "x[-_]forwarded[-_]client[-_]cert|x_kuma[-_]tags|x-kuma_tags"},
			}},
		}},
	}}}
}

// signature is what the proxy says of its workload. It takes the place of
// whatever the workload itself says.
func signature(tags map[string][]string) *mutationv3.HeaderMutation {
	m := &rulesv3.HeaderMutation{Action: &rulesv3.HeaderMutation_Remove{Remove: tagsHeader}}
	if len(tags) > 0 {
		var b strings.Builder
		for _, k := range slices.Sorted(maps.Keys(tags)) {
			b.WriteString("&" + k + "=" + strings.Join(tags[k], ",") + "&")
		}
		m.Action = &rulesv3.HeaderMutation_Append{Append: addHeaders([]proxy.Header{{Name: tagsHeader, Value: b.String()}})[0]}
	}
	return &mutationv3.HeaderMutation{Mutations: []*rulesv3.HeaderMutation{m}}
}

// earlyMutation changes headers before Envoy itself reads them.
func (r *renderer) earlyMutation(key string, m func() proto.Message) *corev3.TypedExtensionConfig {
	return &corev3.TypedExtensionConfig{Name: "envoy.http.early_header_mutation.header_mutation", TypedConfig: r.shared(key, m)}
}

// router is the last filter of all.
func (r *renderer) router() *hcmv3.HttpFilter {
	packed := r.shared("router", func() proto.Message { return &routerv3.Router{} })
	return &hcmv3.HttpFilter{Name: "envoy.filters.http.router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: packed}}
}

func (r *renderer) httpFilter(name string, config proto.Message) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{
		Name:       name,
		ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: r.any(config)},
	}
}
