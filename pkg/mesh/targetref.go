package mesh

// A TargetRef names proxies, or what they call, by its kind.
type TargetRef struct {
	// Kind is Mesh, MeshSubset, Dataplane, MeshService, MeshServiceSubset,
	// MeshExternalService, MeshMultiZoneService, MeshGateway or MeshHTTPRoute, of
	// which each policy allows some.
	Kind        string   `json:"kind,omitempty"`
	Name        string   `json:"name,omitempty"`        // of the resource of that kind
	Namespace   string   `json:"namespace,omitempty"`   // for resources of Kubernetes
	Labels      Tags     `json:"labels,omitempty"`      // in place of name: all that carry them
	Mesh        string   `json:"mesh,omitempty"`        // kept for later
	Tags        Tags     `json:"tags,omitempty"`        // of inbounds, or of a gateway's listeners
	SectionName string   `json:"sectionName,omitempty"` // one port or inbound of it
	ProxyTypes  []string `json:"proxyTypes,omitempty"`  // Sidecar, Gateway; none means both
}

// A BackendRef is where a part of the traffic goes.
type BackendRef struct {
	Kind        string  `json:"kind,omitempty"`
	Name        string  `json:"name,omitempty"`
	Namespace   string  `json:"namespace,omitempty"`
	Labels      Tags    `json:"labels,omitempty"`
	Mesh        string  `json:"mesh,omitempty"`
	Tags        Tags    `json:"tags,omitempty"`
	SectionName string  `json:"sectionName,omitempty"`
	Weight      *uint32 `json:"weight,omitempty"` // default 1; 0 gets nothing
	Port        uint32  `json:"port,omitempty"`
}

// What a TargetRef may name.
const (
	RefMesh              = "Mesh"
	RefMeshSubset        = "MeshSubset"
	RefDataplane         = "Dataplane"
	RefService           = "MeshService"
	RefServiceSubset     = "MeshServiceSubset"
	RefExternalService   = "MeshExternalService"
	RefMultiZoneService  = "MeshMultiZoneService"
	RefGateway           = "MeshGateway"
	RefHTTPRoute         = "MeshHTTPRoute"
	refSidecar, refProxy = "Sidecar", "Gateway"
)

// RefKinds are all kinds of a TargetRef, in the order in which a wider one
// comes before a narrower.
var RefKinds = []string{
	RefMesh, RefDataplane, RefMeshSubset, RefGateway, RefService, RefExternalService,
	RefMultiZoneService, RefServiceSubset, RefHTTPRoute,
}
