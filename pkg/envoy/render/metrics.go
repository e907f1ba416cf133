package render

import (
	"encoding/json"
	"net/netip"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/pkg/proxy"
)

const (
	metricsName = "kuma:metrics:prometheus"
	// scrapeTimeout is longer than the agent's own, which knows better what to
	// answer when something is late.
	scrapeTimeout = 30 * time.Second
	scrapeIdle    = 5 * time.Minute
)

// metrics renders where the proxy is scraped. The agent answers.
func (r *renderer) metrics(m proxy.Metrics) {
	if !m.Listen.IsValid() {
		r.fail("metrics: need an address to listen at")
		return
	}
	answer := r.scrapeHTTP(m)
	l := newListener(metricsName, m.Listen, corev3.TrafficDirection_INBOUND)
	l.Metadata = tagMetadata(m.Tags)
	switch m.TLS {
	case proxy.MetricsPlain:
		l.FilterChains = []*listenerv3.FilterChain{{Name: "plain", Filters: []*listenerv3.Filter{answer}}}
	case proxy.MetricsProvided:
		l.FilterChains = []*listenerv3.FilterChain{{
			Name: "provided", TransportSocket: r.providedTLS(), TransportSocketConnectTimeout: durationpb.New(handshakeTimeout),
			Filters: []*listenerv3.Filter{answer},
		}}
	case proxy.MetricsMesh:
		if r.cfg.Identity == nil || m.Access == nil {
			r.fail("metrics: %w", errNoIdentity)
			return
		}
		l.FilterChains = []*listenerv3.FilterChain{
			{
				// Who is on the host could ask the agent as well.
				Name:             "host",
				FilterChainMatch: &listenerv3.FilterChainMatch{SourcePrefixRanges: []*corev3.CidrRange{prefix(netip.PrefixFrom(m.Listen.Addr(), m.Listen.Addr().BitLen()))}},
				Filters:          []*listenerv3.Filter{answer},
			},
			{
				Name: "mesh", TransportSocket: r.downstreamTLS(r.cfg.Identity), TransportSocketConnectTimeout: durationpb.New(handshakeTimeout),
				Filters: []*listenerv3.Filter{r.rbac(metricsName, *m.Access), answer},
			},
		}
	default:
		r.fail("metrics: mode %q is not known", m.TLS)
		return
	}
	r.listener(metricsName, l)
}

// scrapeHTTP hands requests for the one path to the agent, with what it is to
// join into the answer.
func (r *renderer) scrapeHTTP(m proxy.Metrics) *listenerv3.Filter {
	scrape, err := json.Marshal(m.Scrape)
	if err != nil {
		r.fail("metrics: %w", err)
	}
	h := r.newHCM(metricsName)
	h.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{IdleTimeout: durationpb.New(scrapeIdle)}
	h.StreamIdleTimeout = durationpb.New(scrapeTimeout)
	h.UpgradeConfigs = nil
	h.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
		Name:             metricsName,
		ValidateClusters: wrapperspb.Bool(false),
		VirtualHosts: []*routev3.VirtualHost{{
			Name:    metricsName,
			Domains: []string{"*"},
			Routes: []*routev3.Route{{
				Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Path{Path: m.Path}},
				Action: &routev3.Route_Route{Route: &routev3.RouteAction{
					ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: proxy.MetricsCluster},
					Timeout:          durationpb.New(scrapeTimeout),
				}},
				RequestHeadersToAdd: []*corev3.HeaderValueOption{{
					Header: &corev3.HeaderValue{Key: proxy.ScrapeHeader, Value: literal(string(scrape))},
					// Whatever a scraper says of its own counts for nothing.
					AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
				}},
			}},
		}},
	}}
	return r.filter("envoy.filters.network.http_connection_manager", h)
}

// literal makes text of what Envoy would take for commands.
func literal(s string) string { return strings.ReplaceAll(s, "%", "%%") }

// providedTLS shows the certificate that the host's owner gave the agent. On a
// host that has none nobody gets in.
func (r *renderer) providedTLS() *corev3.TransportSocket {
	return r.tlsSocket(&tlsv3.DownstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{
		TlsParams:                      &tlsv3.TlsParameters{TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2, TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3},
		TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{{Name: proxy.MetricsSecret, SdsConfig: sds()}},
	}})
}
