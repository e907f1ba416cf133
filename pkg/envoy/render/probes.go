package render

import (
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/pkg/proxy"
)

const (
	probesName  = "probe:listener"
	probesRoute = "probe:route_configuration"
	probesHost  = "probe"
	// probeTimeout is longer than whoever probes waits.
	probeTimeout = time.Minute
)

// probes renders the pages of the workload for who is outside of the mesh. What
// is no such page is a 404.
func (r *renderer) probes(p proxy.Probes) {
	if !p.Listen.IsValid() {
		r.fail("probes: need an address to listen at")
		return
	}
	host := &routev3.VirtualHost{Name: probesHost, Domains: []string{"*"}}
	for _, page := range p.Paths {
		i := slices.IndexFunc(r.cfg.Inbounds, func(in proxy.Inbound) bool { return in.Name == page.Inbound })
		if i < 0 {
			r.fail("probes: there is no inbound %q", page.Inbound)
			continue
		}
		host.Routes = append(host.Routes, &routev3.Route{
			Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Path{Path: page.Path}},
			Action: &routev3.Route_Route{Route: &routev3.RouteAction{
				ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: r.localCluster(r.cfg.Inbounds[i])},
				PrefixRewrite:    page.To,
				Timeout:          durationpb.New(probeTimeout),
			}},
		})
	}
	h := r.newHCM(probesName)
	h.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{IdleTimeout: durationpb.New(scrapeIdle)}
	h.StreamIdleTimeout = durationpb.New(probeTimeout)
	h.UpgradeConfigs = nil
	h.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
		Name:                   probesRoute,
		ValidateClusters:       wrapperspb.Bool(false),
		RequestHeadersToRemove: notForWorkloads,
		VirtualHosts:           []*routev3.VirtualHost{host},
	}}
	l := newListener(probesName, p.Listen, corev3.TrafficDirection_INBOUND)
	l.FilterChains = []*listenerv3.FilterChain{{Name: "plain", Filters: []*listenerv3.Filter{r.filter("envoy.filters.network.http_connection_manager", h)}}}
	r.listener(probesName, l)
}
