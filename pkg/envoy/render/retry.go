package render

import (
	"strings"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	previoushostsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// hostTries is how often another endpoint is looked for than those that a
// request has been at. Where there is none, it goes to one of them again.
const hostTries = 5

// retryPolicy says which requests are tried again; nil is none.
func (r *renderer) retryPolicy(c *proxy.Retry) *routev3.RetryPolicy {
	if c == nil || len(c.On) == 0 {
		return nil
	}
	p := &routev3.RetryPolicy{
		RetryOn:              strings.Join(c.On, ","),
		PerTryTimeout:        given(c.PerTry),
		RetriableStatusCodes: c.Statuses,
		RetryHostPredicate: []*routev3.RetryPolicy_RetryHostPredicate{{
			Name: "envoy.retry_host_predicates.previous_hosts",
			ConfigType: &routev3.RetryPolicy_RetryHostPredicate_TypedConfig{
				TypedConfig: r.any(&previoushostsv3.PreviousHostsPredicate{}),
			},
		}},
		HostSelectionRetryMaxAttempts: hostTries,
	}
	if c.Attempts > 0 {
		p.NumRetries = wrapperspb.UInt32(c.Attempts)
	}
	if b := c.BackOff; b != nil {
		p.RetryBackOff = &routev3.RetryPolicy_RetryBackOff{BaseInterval: durationpb.New(time.Duration(b.Base)), MaxInterval: given(b.Max)}
	}
	for _, m := range c.Methods {
		p.RetriableRequestHeaders = append(p.RetriableRequestHeaders, headerMatch(":method", proxy.Text{Exact: m}))
	}
	return p
}
