package render

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// change has a route modify the requests that it leads, and their answers.
func change(route *routev3.Route, to *routev3.RouteAction, m *proxy.Modify) {
	if m == nil {
		return
	}
	if p := m.Path; p != nil {
		if p.Pattern != "" {
			to.RegexRewrite = substitute(p)
		} else {
			to.PrefixRewrite = p.Value
		}
	}
	if h := m.Host; h != nil {
		if h.Pattern != "" {
			to.HostRewriteSpecifier = &routev3.RouteAction_HostRewritePathRegex{HostRewritePathRegex: substitute(h)}
		} else {
			to.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: h.Value}
		}
	}
	if h := m.Request; h != nil {
		route.RequestHeadersToAdd, route.RequestHeadersToRemove = addHeaders(h.Add), h.Remove
	}
	if h := m.Response; h != nil {
		route.ResponseHeadersToAdd, route.ResponseHeadersToRemove = addHeaders(h.Add), h.Remove
	}
}

func substitute(r *proxy.Rewrite) *matcherv3.RegexMatchAndSubstitute {
	return &matcherv3.RegexMatchAndSubstitute{Pattern: regex(r.Pattern), Substitution: r.Substitution}
}
