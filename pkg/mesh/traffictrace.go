package mesh

// A TrafficTrace has the proxies of the dataplanes that it selects report
// spans of the requests that pass them.
type TrafficTrace struct {
	Selectors []Selector        `json:"selectors,omitempty"`
	Conf      *TrafficTraceConf `json:"conf,omitempty"`
}

// A TrafficTraceConf says where spans go.
type TrafficTraceConf struct {
	Backend string `json:"backend,omitempty"` // one of the mesh's tracing; default its defaultBackend
}

// Validate tells everything that is wrong with it. Whether the mesh has the
// backend is told with the plan of each dataplane.
func (s *TrafficTrace) Validate() Violations { return validateSelectors("selectors", s.Selectors) }

// Backend returns the name that the policy gives, "" for the mesh's default.
func (s *TrafficTrace) Backend() string {
	if s.Conf == nil {
		return ""
	}
	return s.Conf.Backend
}
