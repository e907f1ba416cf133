package xds

import "github.com/envoyproxy/go-control-plane/pkg/resource/v3"

// NamesType is the type URL of a mesh's name table, hostv1.NameTable. There is
// one resource of it, NamesResource. The agent asks for it; Envoy never does.
const (
	NamesType     = "type.googleapis.com/weft.host.v1.NameTable"
	NamesResource = "names"
)

// What the agent asks for beside names: whom the mesh trusts, hostv1.Trust, and
// who signs in it, hostv1.Issuer. There is one resource of each. An agent's
// answer says that it has done what follows.
const (
	TrustType      = "type.googleapis.com/weft.host.v1.Trust"
	TrustResource  = "trust"
	IssuerType     = "type.googleapis.com/weft.host.v1.Issuer"
	IssuerResource = "issuer"
)

// What a control plane tells agents of itself, whatever their mesh: whom they are
// to take for it, hostv1.ControlPlane, of which there is one resource; and that
// they look for another one, hostv1.Look, which is of the name of the proxy whose
// agent is meant.
const (
	ControlPlaneType     = "type.googleapis.com/weft.host.v1.ControlPlane"
	ControlPlaneResource = "control-plane"
	LookType             = "type.googleapis.com/weft.host.v1.Look"
)

// words are the types that a stream may ask for, as people read them. Whoever
// asks for another ends its stream with InvalidArgument: what is not on the list
// is denied. Secrets are those that the proxy's own clusters name; its identity
// is none of them.
var words = map[string]string{
	resource.ClusterType:  "clusters",
	resource.EndpointType: "endpoints",
	resource.ListenerType: "listeners",
	resource.RouteType:    "routes",
	resource.SecretType:   "secrets",
	NamesType:             "names",
	TrustType:             "trust",
	IssuerType:            "issuer",
	ControlPlaneType:      "control plane",
	LookType:              "look",
}

// order is how proxies are told of them, and how statuses list them.
var order = []string{
	resource.ClusterType, resource.EndpointType, resource.SecretType, resource.ListenerType, resource.RouteType, NamesType,
	TrustType, IssuerType, ControlPlaneType, LookType,
}
