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
func (s *MeshTCPRoute) Validate() (v Violations) {
	r := &s.Spec
	v = append(v, r.TargetRef.validate("spec.targetRef", chosenOrGateway)...)
	if len(r.To) == 0 {
		v.Add("spec.to", `must have at least one item, as in "- targetRef: {kind: MeshService, name: api}"`)
	}
	for i, to := range r.To {
		at := field("spec.to", i)
		v = append(v, to.TargetRef.needed(field(at, "targetRef"), routed(r.TargetRef))...)
		if n := len(to.Rules); n != 1 {
			v.Add(field(at, "rules"), "must have exactly one rule, has %d: connections have nothing to match", n)
		}
		for j, rule := range to.Rules {
			at := field(at, "rules", j, "default")
			if rule.Default == nil || len(rule.Default.BackendRefs) == 0 {
				v.Add(field(at, "backendRefs"), "must have at least one backend")
				continue
			}
			v = append(v, validateBackendRefs(field(at, "backendRefs"), rule.Default.BackendRefs)...)
		}
	}
	return v
}
