package render

import (
	"strings"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// retryPolicy says which requests are tried again; nil is none.
func retryPolicy(r *proxy.Retry) *routev3.RetryPolicy {
	if r == nil || len(r.On) == 0 {
		return nil
	}
	p := &routev3.RetryPolicy{
		RetryOn:              strings.Join(r.On, ","),
		PerTryTimeout:        given(r.PerTry),
		RetriableStatusCodes: r.Statuses,
	}
	if r.Attempts > 0 {
		p.NumRetries = wrapperspb.UInt32(r.Attempts)
	}
	if b := r.BackOff; b != nil {
		p.RetryBackOff = &routev3.RetryPolicy_RetryBackOff{BaseInterval: durationpb.New(time.Duration(b.Base)), MaxInterval: given(b.Max)}
	}
	for _, m := range r.Methods {
		p.RetriableRequestHeaders = append(p.RetriableRequestHeaders, headerMatch(":method", proxy.Text{Exact: m}))
	}
	return p
}
