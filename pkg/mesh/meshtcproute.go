package mesh

// A MeshTCPRoute says where connections go.
type MeshTCPRoute struct {
	Spec MeshTCPRouteSpec `json:"spec"`
}

// A MeshTCPRouteSpec is for what the proxies that it chooses call.
type MeshTCPRouteSpec struct {
	TargetRef *TargetRef       `json:"targetRef,omitempty"` // which proxies; none means all of the mesh
	To        []MeshTCPRouteTo `json:"to,omitempty"`
}

// A MeshTCPRouteTo is for connections to one destination.
type MeshTCPRouteTo struct {
	TargetRef *TargetRef         `json:"targetRef,omitempty"`
	Rules     []MeshTCPRouteRule `json:"rules,omitempty"` // at most one
}

// A MeshTCPRouteRule is for all connections.
type MeshTCPRouteRule struct {
	Default *MeshTCPRouteConf `json:"default,omitempty"`
}

// A MeshTCPRouteConf is where they go.
type MeshTCPRouteConf struct {
	BackendRefs []BackendRef `json:"backendRefs,omitempty"`
}

// Validate tells everything that is wrong with it.
func (s *MeshTCPRoute) Validate() (v Violations) { return nil }
