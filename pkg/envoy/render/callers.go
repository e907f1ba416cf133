package render

import (
	"maps"
	"regexp"
	"slices"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	matchingv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/matching/v3"
	actionv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/matcher/action/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	sslv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/ssl/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// A witness says what the tags of callers are, on one filter chain.
type witness int

const (
	nothing     witness = iota // plain callers, where others show certificates
	certificate                // the URIs of the caller's certificate
	header                     // tagsHeader, where nobody has a certificate
)

// tagsHeader is what a proxy says of its workload: "&env=prod&&version=v1,v2&".
const tagsHeader = "x-kuma-tags"

type predicate = xdsmatcherv3.Matcher_MatcherList_Predicate

// only has a filter leave out requests that are not from callers (none:
// everybody), and all that are from any of others.
func (r *renderer) only(w witness, f *hcmv3.HttpFilter, callers []proxy.Caller, others ...[]proxy.Caller) *hcmv3.HttpFilter {
	var leaveOut []*predicate
	if len(callers) > 0 {
		leaveOut = append(leaveOut, not(r.anyOf(w, callers)))
	}
	for _, cs := range others {
		leaveOut = append(leaveOut, r.anyOf(w, cs))
	}
	if len(leaveOut) == 0 {
		return f
	}
	return r.httpFilter(f.Name, &matchingv3.ExtensionWithMatcher{
		ExtensionConfig: &corev3.TypedExtensionConfig{Name: f.Name, TypedConfig: f.GetTypedConfig()},
		XdsMatcher: &xdsmatcherv3.Matcher{MatcherType: &xdsmatcherv3.Matcher_MatcherList_{MatcherList: &xdsmatcherv3.Matcher_MatcherList{
			Matchers: []*xdsmatcherv3.Matcher_MatcherList_FieldMatcher{{
				Predicate: or(leaveOut),
				OnMatch: &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{
					Action: r.extension("skip", &actionv3.SkipFilter{}),
				}},
			}},
		}}},
	})
}

// anyOf holds for requests from one of callers.
func (r *renderer) anyOf(w witness, callers []proxy.Caller) *predicate {
	var each []*predicate
	for _, c := range callers {
		var all []*predicate
		for _, k := range slices.Sorted(maps.Keys(c)) {
			all = append(all, r.carriesTag(w, k, c[k]))
		}
		each = append(each, and(all))
	}
	return or(each)
}

// carriesTag holds for callers with the tag.
func (r *renderer) carriesTag(w witness, key, value string) *predicate {
	key = regexp.QuoteMeta(key)
	if w == header {
		pattern := ".*&" + key + "=(?:[^&]*,)?" + regexp.QuoteMeta(value) + "[,&].*"
		if value == "*" {
			pattern = ".*&" + key + "=.*"
		}
		return r.matches("envoy.matching.inputs.request_headers", &matcherv3.HttpRequestHeaderMatchInput{HeaderName: tagsHeader}, pattern)
	}
	// Envoy joins the URIs by commas, which stand in none of ours.
	pattern := regexp.QuoteMeta(value)
	if value == "*" {
		pattern = "[^/,]+"
	}
	return r.matches("envoy.matching.inputs.uri_san", &sslv3.UriSanInput{}, "(?:.*,)?kuma://"+key+"/"+pattern+"(?:,.*)?")
}

// matches holds where the whole input is as the pattern says.
func (r *renderer) matches(name string, input proto.Message, pattern string) *predicate {
	return &predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{
		SinglePredicate: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
			Input: r.extension(name, input),
			Matcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch{
				ValueMatch: &xdsmatcherv3.StringMatcher{MatchPattern: &xdsmatcherv3.StringMatcher_SafeRegex{
					SafeRegex: &xdsmatcherv3.RegexMatcher{
						EngineType: &xdsmatcherv3.RegexMatcher_GoogleRe2{GoogleRe2: &xdsmatcherv3.RegexMatcher_GoogleRE2{}},
						Regex:      pattern,
					},
				}},
			},
		},
	}}
}

func (r *renderer) extension(name string, config proto.Message) *xdscorev3.TypedExtensionConfig {
	return &xdscorev3.TypedExtensionConfig{Name: name, TypedConfig: r.any(config)}
}

func not(p *predicate) *predicate {
	return &predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_NotMatcher{NotMatcher: p}}
}

func or(ps []*predicate) *predicate {
	if len(ps) == 1 {
		return ps[0]
	}
	return &predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_OrMatcher{
		OrMatcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_PredicateList{Predicate: ps},
	}}
}

func and(ps []*predicate) *predicate {
	if len(ps) == 1 {
		return ps[0]
	}
	return &predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_AndMatcher{
		AndMatcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_PredicateList{Predicate: ps},
	}}
}
