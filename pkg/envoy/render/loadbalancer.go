package render

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	statev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	setstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// loadBalancing has a cluster choose among its endpoints.
func loadBalancing(c *clusterv3.Cluster, l *proxy.LoadBalancer) {
	if l == nil {
		return
	}
	switch l.Policy {
	case proxy.LeastRequest:
		c.LbPolicy = clusterv3.Cluster_LEAST_REQUEST
		if l.Choices > 0 {
			c.LbConfig = &clusterv3.Cluster_LeastRequestLbConfig_{LeastRequestLbConfig: &clusterv3.Cluster_LeastRequestLbConfig{
				ChoiceCount: wrapperspb.UInt32(l.Choices),
			}}
		}
	case proxy.RingHash:
		c.LbPolicy = clusterv3.Cluster_RING_HASH
		ring := &clusterv3.Cluster_RingHashLbConfig{}
		if l.Hash == "MURMUR_HASH_2" {
			ring.HashFunction = clusterv3.Cluster_RingHashLbConfig_MURMUR_HASH_2
		}
		if l.MinRing > 0 {
			ring.MinimumRingSize = wrapperspb.UInt64(l.MinRing)
		}
		if l.MaxRing > 0 {
			ring.MaximumRingSize = wrapperspb.UInt64(l.MaxRing)
		}
		c.LbConfig = &clusterv3.Cluster_RingHashLbConfig_{RingHashLbConfig: ring}
	case proxy.Random:
		c.LbPolicy = clusterv3.Cluster_RANDOM
	case proxy.Maglev:
		c.LbPolicy = clusterv3.Cluster_MAGLEV
	}
}

// callerState is under which name a connection carries who made it.
const callerState = "weft.caller"

// callerKey has the connections of an outbound carry what they are hashed by,
// where some cluster hashes: this proxy and the caller's address. The address
// alone is the same on every host, where the workload calls at loopback.
func (r *renderer) callerKey(out proxy.Outbound) []*listenerv3.Filter {
	for _, rule := range out.Routes.Rules {
		if r.hashes(rule) {
			return []*listenerv3.Filter{r.filter("envoy.filters.network.set_filter_state", &setstatev3.Config{
				OnNewConnection: []*statev3.FilterStateValue{{
					Key:        &statev3.FilterStateValue_ObjectKey{ObjectKey: callerState},
					FactoryKey: "envoy.hashable_string",
					Value: &statev3.FilterStateValue_FormatString{FormatString: &corev3.SubstitutionFormatString{
						Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corev3.DataSource{
							Specifier: &corev3.DataSource_InlineString{InlineString: r.cfg.ID.String() + " %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"},
						}},
					}},
				}},
			})}
		}
	}
	return nil
}

// requestHash is what requests are hashed by.
func (r *renderer) requestHash(rule proxy.Route) []*routev3.RouteAction_HashPolicy {
	if !r.hashes(rule) {
		return nil
	}
	return []*routev3.RouteAction_HashPolicy{{PolicySpecifier: &routev3.RouteAction_HashPolicy_FilterState_{
		FilterState: &routev3.RouteAction_HashPolicy_FilterState{Key: callerState},
	}}}
}

// connectionHash is what connections are hashed by.
func (r *renderer) connectionHash(rule proxy.Route) []*typev3.HashPolicy {
	if !r.hashes(rule) {
		return nil
	}
	return []*typev3.HashPolicy{{PolicySpecifier: &typev3.HashPolicy_FilterState_{
		FilterState: &typev3.HashPolicy_FilterState{Key: callerState},
	}}}
}

// hashes tells whether a rule leads to a cluster that takes the same endpoint
// for the same caller.
func (r *renderer) hashes(rule proxy.Route) bool {
	for _, to := range rule.To {
		switch r.balancers[to.Cluster] {
		case proxy.RingHash, proxy.Maglev:
			return true
		}
	}
	return false
}
