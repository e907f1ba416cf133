package render

import (
	"net/http"
	"slices"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// notForWorkloads are headers that proxies write for each other: the caller's
// tags, and whether Envoy believes it to be internal.
var notForWorkloads = []string{tagsHeader, "x-envoy-internal"}

// inboundRoute leads everything to the workload.
func inboundRoute(listener, service, cluster string) *routev3.RouteConfiguration {
	name, host := "inbound:"+service, service
	if service == "" {
		name, host = listener, listener
	}
	return &routev3.RouteConfiguration{
		Name:                   name,
		ValidateClusters:       wrapperspb.Bool(false),
		RequestHeadersToRemove: notForWorkloads,
		VirtualHosts:           []*routev3.VirtualHost{everything(host, cluster)},
	}
}

// notFor are the headers that a cluster is not shown: what is outside of the
// mesh has nothing to do with its tags.
func (r *renderer) notFor(cluster string) []string {
	if r.outsiders[cluster] {
		return []string{tagsHeader}
	}
	return nil
}

// outboundRouteName is "outbound:<service>", and for a part of a service what
// its cluster is called.
func outboundRouteName(out proxy.Outbound) string { return "outbound:" + out.Name }

// outboundRoute leads where out's rules lead. What none matches is a 404.
func (r *renderer) outboundRoute(name string, out proxy.Outbound) *routev3.RouteConfiguration {
	host := &routev3.VirtualHost{Name: out.Service, Domains: []string{"*"}, RetryPolicy: r.retryPolicy(out.Retry)}
	_, host.TypedPerFilterConfig = r.routeRateLimit(out.Name, out.RateLimit)
	for _, rule := range out.Routes.Rules {
		host.Routes = append(host.Routes, r.outboundRule(out, rule))
	}
	return &routev3.RouteConfiguration{
		Name:             name,
		ValidateClusters: wrapperspb.Bool(false),
		VirtualHosts:     []*routev3.VirtualHost{host},
	}
}

func (r *renderer) outboundRule(out proxy.Outbound, rule proxy.Route) *routev3.Route {
	route := &routev3.Route{Match: requestMatch(rule.Match)}
	if len(rule.To) == 0 {
		route.Action = &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: http.StatusServiceUnavailable}}
		return route
	}
	to := &routev3.RouteAction{
		Timeout:     durationpb.New(time.Duration(out.Timeouts.Request)),
		IdleTimeout: given(out.Timeouts.StreamIdle),
		HashPolicy:  r.requestHash(rule),
	}
	if d := given(out.Timeouts.MaxStream); d != nil {
		to.MaxStreamDuration = &routev3.RouteAction_MaxStreamDuration{MaxStreamDuration: d}
	}
	if len(rule.To) == 1 {
		to.ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: rule.To[0].Cluster}
	} else {
		split := &routev3.WeightedCluster{}
		for _, w := range rule.To {
			split.Clusters = append(split.Clusters, &routev3.WeightedCluster_ClusterWeight{
				Name: w.Cluster, Weight: wrapperspb.UInt32(w.Weight), RequestHeadersToRemove: r.notFor(w.Cluster),
			})
		}
		to.ClusterSpecifier = &routev3.RouteAction_WeightedClusters{WeightedClusters: split}
	}
	route.Action = &routev3.Route_Route{Route: to}
	change(route, to, rule.Modify)
	if len(rule.To) == 1 {
		route.RequestHeadersToRemove = append(slices.Clone(route.RequestHeadersToRemove), r.notFor(rule.To[0].Cluster)...)
	}
	if rule.MemberHost {
		to.HostRewriteSpecifier = &routev3.RouteAction_AutoHostRewrite{AutoHostRewrite: wrapperspb.Bool(true)}
	}
	return route
}

// given is nil for what is not limited.
func given(d proxy.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(time.Duration(d))
}

// everything sends all requests to one cluster, for as long as they take.
func everything(host, cluster string) *routev3.VirtualHost {
	return &routev3.VirtualHost{
		Name:    host,
		Domains: []string{"*"},
		Routes: []*routev3.Route{{
			Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
			Action: &routev3.Route_Route{Route: &routev3.RouteAction{
				ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: cluster},
				Timeout:          durationpb.New(0),
			}},
		}},
	}
}
