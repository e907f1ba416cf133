package mesh

// A MeshMultiZoneService is one service made of MeshServices of several zones.
type MeshMultiZoneService struct {
	Spec MeshMultiZoneServiceSpec `json:"spec"`
}

// A MeshMultiZoneServiceSpec says which, and at which ports.
type MeshMultiZoneServiceSpec struct {
	Selector *MultiZoneSelector `json:"selector,omitempty"`
	Ports    []MultiZonePort    `json:"ports,omitempty"`
}

// A MultiZoneSelector picks MeshServices.
type MultiZoneSelector struct {
	MeshService *LabelSelector `json:"meshService,omitempty"`
}

// A MultiZonePort is one port that is called.
type MultiZonePort struct {
	Name        string `json:"name,omitempty"`
	Port        uint32 `json:"port,omitempty"`
	AppProtocol string `json:"appProtocol,omitempty"` // tcp (default), http, http2, grpc, tls, kafka
}

// Validate tells everything that is wrong with it.
func (s *MeshMultiZoneService) Validate() (v Violations) {
	if sel := s.Spec.Selector; sel == nil || sel.MeshService == nil || sel.MeshService.MatchLabels == nil || len(*sel.MeshService.MatchLabels) == 0 {
		v.Add("spec.selector.meshService.matchLabels", `must have at least one label, as in "kuma.io/display-name: api"`)
	} else {
		v = append(v, sel.MeshService.validate("spec.selector.meshService")...)
	}
	if len(s.Spec.Ports) == 0 {
		v.Add("spec.ports", "must have at least one port")
	}
	ports := servicePorts{names: map[string]bool{}, ports: map[uint32]bool{}}
	for i, p := range s.Spec.Ports {
		v = append(v, ports.validate(field("spec.ports", i), p.Name, p.Port, p.AppProtocol)...)
	}
	return v
}
