package mesh

// A TrafficLog has calls of its sources to its destinations logged by the
// caller's proxy. Calls that leave the mesh go to the service PassThrough.
type TrafficLog struct {
	Sources      []Selector      `json:"sources,omitempty"`
	Destinations []Selector      `json:"destinations,omitempty"`
	Conf         *TrafficLogConf `json:"conf,omitempty"`
}

// A TrafficLogConf says where lines go.
type TrafficLogConf struct {
	Backend string `json:"backend,omitempty"` // one of the mesh's logging; default its defaultBackend
}

// PassThrough is the service by which policies name everything outside of the
// mesh.
const PassThrough = "pass_through"

// Validate tells everything that is wrong with it. Whether the mesh has the
// backend is told with the plan of each dataplane.
func (s *TrafficLog) Validate() Violations { return validateEnds(s.Sources, s.Destinations) }

// Backend returns the name that the policy gives, "" for the mesh's default.
func (s *TrafficLog) Backend() string {
	if s.Conf == nil {
		return ""
	}
	return s.Conf.Backend
}
