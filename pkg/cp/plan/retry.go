package plan

import (
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/cp/policy"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// What is tried again where a Retry does not say on what.
var (
	httpRetryOn = []string{"connect-failure", "gateway-error", "refused-stream"}
	grpcRetryOn = []string{
		"cancelled", "connect-failure", "gateway-error", "refused-stream", "reset", "resource-exhausted", "unavailable",
	}
)

const retriableStatusCodes = "retriable-status-codes"

// retry says what an outbound tries again. A policy that has no part for its
// protocol says nothing.
func (p *planner) retry(out *proxy.Outbound) {
	spec, m := chosen[*mesh.Retry](p, mesh.RetryKind, policy.Retries, out.Service)
	if spec == nil {
		return
	}
	switch c, r := spec.Conf, (&proxy.Retry{From: origin(m)}); {
	case out.Protocol == proxy.GRPC && c.GRPC != nil:
		r.On = conditions(c.GRPC.RetryOn, grpcRetryOn)
		tries(r, c.GRPC.NumRetries, c.GRPC.PerTryTimeout, c.GRPC.BackOff)
		out.Retry = r
	case (out.Protocol == proxy.HTTP || out.Protocol == proxy.HTTP2) && c.HTTP != nil:
		r.On = conditions(c.HTTP.RetryOn, httpRetryOn)
		r.Statuses, r.Methods = sorted(c.HTTP.RetriableStatusCodes), sorted(c.HTTP.RetriableMethods)
		if len(r.Statuses) > 0 && !slices.Contains(r.On, retriableStatusCodes) {
			r.On = sorted(append(r.On, retriableStatusCodes))
		}
		tries(r, c.HTTP.NumRetries, c.HTTP.PerTryTimeout, c.HTTP.BackOff)
		out.Retry = r
	case !proxy.IsHTTP(out.Protocol) && c.TCP != nil:
		r.Connects = c.TCP.MaxConnectAttempts
		out.Retry = r
	}
}

// conditions are those of a document in the proxy's words, or all of none.
func conditions(on, none []string) []string {
	if len(on) == 0 {
		return slices.Clone(none)
	}
	words := make([]string, len(on))
	for i, w := range on {
		if words[i] = strings.ReplaceAll(w, "_", "-"); w == "all_5xx" {
			words[i] = "5xx"
		}
	}
	return sorted(words)
}

// sorted returns each of list once, in order.
func sorted[T interface{ ~string | ~uint32 }](list []T) []T {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

func tries(r *proxy.Retry, num *uint32, perTry string, b *mesh.RetryBackOff) {
	r.Attempts = or(num, 1)
	set(&r.PerTry, perTry)
	if b != nil {
		r.BackOff = &proxy.BackOff{}
		set(&r.BackOff.Base, b.BaseInterval)
		set(&r.BackOff.Max, b.MaxInterval)
	}
}

// or is what n says, and otherwise where it says nothing.
func or[T any](n *T, otherwise T) T {
	if n == nil {
		return otherwise
	}
	return *n
}
