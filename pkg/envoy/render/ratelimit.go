package render

import (
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	localratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/local_ratelimit/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// rateLimits render limits, a filter for each: it leaves out whom one before
// it counts.
func (r *renderer) rateLimits(w witness, stat string, limits []proxy.RateLimit) (fs []*hcmv3.HttpFilter) {
	var before [][]proxy.Caller
	for _, l := range limits {
		if len(l.Callers) > 0 && w == nothing {
			continue
		}
		fs = append(fs, r.only(w, r.httpFilter(localRateLimit, rateLimit(stat, l)), l.Callers, before...))
		if len(l.Callers) == 0 {
			break // nobody is left
		}
		before = append(before, l.Callers)
	}
	return fs
}

const localRateLimit = "envoy.filters.http.local_ratelimit"

// routeRateLimit renders the limit of an outbound: the filter, and what a
// virtual host says to it. So the listeners of all addresses of an outbound,
// which share its routes, share one bucket.
func (r *renderer) routeRateLimit(stat string, l *proxy.RateLimit) (*hcmv3.HttpFilter, map[string]*anypb.Any) {
	if l == nil {
		return nil, nil
	}
	return r.httpFilter(localRateLimit, &localratelimitv3.LocalRateLimit{StatPrefix: statName(stat)}),
		map[string]*anypb.Any{localRateLimit: r.any(rateLimit(stat, *l))}
}

func rateLimit(stat string, l proxy.RateLimit) *localratelimitv3.LocalRateLimit {
	always := &corev3.RuntimeFractionalPercent{DefaultValue: &typev3.FractionalPercent{Numerator: 100}}
	return &localratelimitv3.LocalRateLimit{
		StatPrefix: statName(strings.Trim(stat+"_"+l.From.Name, "_")),
		TokenBucket: &typev3.TokenBucket{
			MaxTokens:     l.Requests,
			TokensPerFill: wrapperspb.UInt32(l.Requests),
			FillInterval:  durationpb.New(time.Duration(l.Interval)),
		},
		Status:               &typev3.HttpStatus{Code: typev3.StatusCode(l.Status)},
		FilterEnabled:        always,
		FilterEnforced:       always,
		ResponseHeadersToAdd: addHeaders(l.Headers),
		// To gRPC "unavailable", which is Envoy's default, would say: try again.
		RateLimitedAsResourceExhausted: true,
	}
}

// addHeaders sets headers, or adds to them, with their values as they stand:
// "%" begins no variable.
func addHeaders(hs []proxy.Header) (options []*corev3.HeaderValueOption) {
	for _, h := range hs {
		action := corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD
		if h.Append {
			action = corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD
		}
		options = append(options, &corev3.HeaderValueOption{
			Header:         &corev3.HeaderValue{Key: h.Name, Value: strings.ReplaceAll(h.Value, "%", "%%")},
			AppendAction:   action,
			KeepEmptyValue: true,
		})
	}
	return options
}
