package mesh

// A MeshRateLimit bounds how much each proxy takes.
type MeshRateLimit struct {
	Spec BothWays[MeshRateLimitConf] `json:"spec"`
}

// A MeshRateLimitConf is counted by each proxy for itself.
type MeshRateLimitConf struct {
	Local *LocalRateLimit `json:"local,omitempty"`
}

// A LocalRateLimit has a limit for each protocol.
type LocalRateLimit struct {
	HTTP *LocalHTTPRateLimit `json:"http,omitempty"`
	TCP  *LocalTCPRateLimit  `json:"tcp,omitempty"`
}

// A LocalHTTPRateLimit bounds requests.
type LocalHTTPRateLimit struct {
	Disabled    *bool          `json:"disabled,omitempty"`
	RequestRate *Rate          `json:"requestRate,omitempty"`
	OnRateLimit *OnLocalRefuse `json:"onRateLimit,omitempty"`
}

// A LocalTCPRateLimit bounds new connections.
type LocalTCPRateLimit struct {
	Disabled       *bool `json:"disabled,omitempty"`
	ConnectionRate *Rate `json:"connectionRate,omitempty"`
}

// A Rate is so many in each interval.
type Rate struct {
	Num      uint32 `json:"num,omitempty"`
	Interval string `json:"interval,omitempty"` // at least 50ms
}

// OnLocalRefuse is the answer to requests beyond the limit.
type OnLocalRefuse struct {
	Status  uint32          `json:"status,omitempty"` // default 429
	Headers *HeaderModifier `json:"headers,omitempty"`
}

// Validate tells everything that is wrong with it.
func (s *MeshRateLimit) Validate() (v Violations) { return nil }
