package mesh

// A MeshTLS says which TLS proxies take from callers.
type MeshTLS struct {
	Spec Inward[MeshTLSConf] `json:"spec"`
}

// A MeshTLSConf sets versions, ciphers and whether TLS is a must.
type MeshTLSConf struct {
	TLSVersion *TLSVersions `json:"tlsVersion,omitempty"`
	TLSCiphers []string     `json:"tlsCiphers,omitempty"` // one of TLSCiphers each
	Mode       string       `json:"mode,omitempty"`       // Strict, Permissive; default: the mesh's
}

// TLSVersions are the oldest and the newest that are spoken.
type TLSVersions struct {
	Min string `json:"min,omitempty"` // TLSAuto (default), TLS10 to TLS13
	Max string `json:"max,omitempty"`
}

// Validate tells everything that is wrong with it.
func (s *MeshTLS) Validate() (v Violations) { return nil }
