package render

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// requestMatch holds for requests that meet all of m, nil for every request.
func requestMatch(m *proxy.Match) *routev3.RouteMatch {
	if m == nil {
		m = &proxy.Match{}
	}
	match := &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}}
	switch p := m.Path; {
	case p == nil:
	case p.Exact != "":
		match.PathSpecifier = &routev3.RouteMatch_Path{Path: p.Exact}
	case p.Regex != "":
		match.PathSpecifier = &routev3.RouteMatch_SafeRegex{SafeRegex: regex(p.Regex)}
	default:
		match.PathSpecifier = &routev3.RouteMatch_Prefix{Prefix: p.Prefix}
	}
	if m.Method != nil {
		match.Headers = append(match.Headers, headerMatch(":method", *m.Method))
	}
	for _, h := range m.Headers {
		match.Headers = append(match.Headers, headerMatch(h.Name, h.Text))
	}
	return match
}

func headerMatch(name string, t proxy.Text) *routev3.HeaderMatcher {
	m := &matcherv3.StringMatcher{}
	switch {
	case t.Exact != "":
		m.MatchPattern = &matcherv3.StringMatcher_Exact{Exact: t.Exact}
	case t.Regex != "":
		m.MatchPattern = &matcherv3.StringMatcher_SafeRegex{SafeRegex: regex(t.Regex)}
	default:
		m.MatchPattern = &matcherv3.StringMatcher_Prefix{Prefix: t.Prefix}
	}
	return &routev3.HeaderMatcher{Name: name, HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: m}}
}

func regex(pattern string) *matcherv3.RegexMatcher { return &matcherv3.RegexMatcher{Regex: pattern} }
