package render

import (
	"cmp"
	"net/netip"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// Endpoints renders the members of one cluster, for every proxy of the mesh:
// one locality for each priority and zone, sorted by those and then by address.
func Endpoints(e proxy.Endpoints) *endpointv3.ClusterLoadAssignment {
	members := slices.SortedFunc(slices.Values(e.Members), func(a, b proxy.Endpoint) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Zone, b.Zone), a.Address.Compare(b.Address))
	})
	cla := &endpointv3.ClusterLoadAssignment{ClusterName: e.Cluster}
	var zone *endpointv3.LocalityLbEndpoints
	for _, m := range members {
		if zone == nil || zone.Locality.GetZone() != m.Zone || zone.Priority != m.Priority {
			zone = &endpointv3.LocalityLbEndpoints{Priority: m.Priority}
			if m.Zone != "" {
				zone.Locality = &corev3.Locality{Zone: m.Zone}
			}
			cla.Endpoints = append(cla.Endpoints, zone)
		}
		ep := endpoint(m.Address)
		if len(m.Tags) > 0 {
			ep.Metadata = &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"envoy.lb": tagStruct(m.Tags)}}
		}
		zone.LbEndpoints = append(zone.LbEndpoints, ep)
	}
	return cla
}

func endpoint(at netip.AddrPort) *endpointv3.LbEndpoint {
	return &endpointv3.LbEndpoint{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{
		Endpoint: &endpointv3.Endpoint{Address: address(at)},
	}}
}
