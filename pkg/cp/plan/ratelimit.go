package plan

import (
	"cmp"
	"fmt"
	"net/http"

	"github.com/weft-mesh/weft/pkg/cp/policy"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// rateLimits are those of an inbound.
func (p *planner) rateLimits(in *proxy.Inbound) (ls []proxy.RateLimit) {
	tags := in.Tags
	find := func(all []*mesh.Resource) policy.Matches { return policy.RateLimits(all, tags) }
	for _, m := range p.policies(mesh.RateLimitKind, find, tags) {
		if !proxy.IsHTTP(in.Protocol) {
			if s := m.Selector.Match.Service(); s != "" && s != mesh.Any {
				p.warnOnce(fmt.Sprintf("RateLimit %q", m.Policy.Meta.Name), "does not hold for %s: limits are kept in HTTP alone, this is %s; set %s", s, in.Protocol, mesh.ProtocolTag)
			}
			continue
		}
		if callers, ok := p.callers(m.Policy, m.Policy.Spec.(*mesh.RateLimit).Sources); ok {
			ls = append(ls, rateLimit(m, callers))
		}
	}
	return ls
}

// externalLimit is the limit of an outbound that leads outside of the mesh,
// where nobody else would keep it: of what all of this host's calls may be.
func (p *planner) externalLimit(out *proxy.Outbound) {
	if p.outside(out.Service) == nil || !proxy.IsHTTP(out.Protocol) {
		return
	}
	if spec, m := chosen[*mesh.RateLimit](p, mesh.RateLimitKind, policy.ExternalRateLimits, out.Service); spec != nil {
		l := rateLimit(m, nil)
		out.RateLimit = &l
	}
}

func rateLimit(m policy.Match, callers []proxy.Caller) proxy.RateLimit {
	conf := m.Policy.Spec.(*mesh.RateLimit).Conf.HTTP
	l := proxy.RateLimit{
		From: origin(m), Callers: callers,
		Requests: conf.Requests, Interval: proxy.Duration(conf.Every()), Status: http.StatusTooManyRequests,
	}
	if on := conf.OnRateLimit; on != nil {
		l.Status = cmp.Or(on.Status, l.Status)
		for _, h := range on.Headers {
			l.Headers = append(l.Headers, proxy.Header{Name: h.Key, Value: h.Value, Append: h.Append})
		}
	}
	return l
}
