package relay

import "slices"

// Type URLs of what the relay carries.
const (
	clusterType  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	endpointType = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	listenerType = "type.googleapis.com/envoy.config.listener.v3.Listener"
	routeType    = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	namesType    = "type.googleapis.com/weft.host.v1.NameTable"
	// secretType is both what the identity has, by SDS, and what clusters name
	// of the mesh's, which the control plane sends.
	secretType = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
)

// namesResource is the one resource of namesType.
const namesResource = "names"

// kinds is what the relay carries, in the order in which Envoy is told: what
// others refer to comes first. Anything else that Envoy asks for over ADS is
// left unanswered.
var kinds = []kind{
	{url: clusterType, name: "clusters", all: true},
	{url: endpointType, name: "endpoints"},
	{url: secretType, name: "secrets", later: true},
	{url: listenerType, name: "listeners", all: true},
	{url: routeType, name: "routes"},
	{url: namesType, name: "names", own: true},
}

// Places in kinds.
const (
	clusters = iota
	endpoints
	secrets
	listeners
	routes
	names
	kindCount
)

// A kind is one type of resource.
type kind struct {
	url  string
	name string // for people
	all  bool   // Envoy wants all there are: asked for ahead of it
	own  bool   // for the agent: Envoy never sees it
	// later came after the first release: files of before it lack it.
	later bool
}

// kindOf returns the place of url in kinds, -1 for what the relay does not
// carry.
func kindOf(url string) int {
	return slices.IndexFunc(kinds, func(k kind) bool { return k.url == url })
}
