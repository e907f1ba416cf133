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
func (s *MeshFaultInjection) Validate() (v Violations) {
	from := []string{RefMesh, RefMeshSubset, RefService, RefServiceSubset}
	v = append(v, s.Spec.toGateways()...)
	return append(v, s.Spec.validate(refs{top: chosenOrGateway, to: wholeMesh, from: from}, func(path string, c *MeshFaultInjectionConf) Violations {
		return c.validate(path)
	})...)
}

func (c *MeshFaultInjectionConf) validate(path string) (v Violations) {
	for i, f := range c.HTTP {
		at := field(path, "http", i)
		if f.Abort == nil && f.Delay == nil && f.ResponseBandwidth == nil {
			v.Add(at, "must have at least one of abort, delay and responseBandwidth")
		}
		if a := f.Abort; a != nil {
			if a.HTTPStatus < 200 || a.HTTPStatus > 599 {
				v.Add(field(at, "abort.httpStatus"), "must be the status of an answer, 200 to 599")
			}
			v = append(v, needPercentText(field(at, "abort.percentage"), a.Percentage)...)
		}
		if d := f.Delay; d != nil {
			v = append(v, needDuration(field(at, "delay.value"), d.Value)...)
			v = append(v, needPercentText(field(at, "delay.percentage"), d.Percentage)...)
		}
		if b := f.ResponseBandwidth; b != nil {
			if _, err := ParseBandwidth(b.Limit); err != nil {
				v.Add(field(at, "responseBandwidth.limit"), "%s", err)
			}
			v = append(v, needPercentText(field(at, "responseBandwidth.percentage"), b.Percentage)...)
		}
	}
	return v
}
