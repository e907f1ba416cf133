package mesh

import "slices"

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

// TLSCiphers are those of TLS 1.2 that may be chosen.
var TLSCiphers = []string{
	"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305",
	"ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305",
}

// tlsVersions from the oldest; the first is the proxy's own choice.
var tlsVersions = []string{"TLSAuto", "TLS10", "TLS11", "TLS12", "TLS13"}

// Validate tells everything that is wrong with it.
func (s *MeshTLS) Validate() (v Violations) {
	r := s.Spec.TargetRef
	whole := r == nil || r.Kind == RefMesh || r.Kind == RefDataplane && r.SectionName == ""
	return s.Spec.validate(refs{top: ownProxies, from: wholeMesh}, func(path string, c *MeshTLSConf) (v Violations) {
		v = append(v, c.TLSVersion.validate(field(path, "tlsVersion"))...)
		for i, cipher := range c.TLSCiphers {
			v = append(v, listed(field(path, "tlsCiphers", i), cipher, TLSCiphers)...)
		}
		v = append(v, oneOf(field(path, "mode"), c.Mode, "Strict", "Permissive")...)
		if c.Mode != "" && !whole {
			v.Add(field(path, "mode"), "can be set for whole proxies alone: spec.targetRef must be of kind Mesh, or Dataplane without sectionName")
		}
		return v
	})
}

func (t *TLSVersions) validate(path string) (v Violations) {
	if t == nil {
		return nil
	}
	v = append(v, oneOf(field(path, "min"), t.Min, tlsVersions...)...)
	v = append(v, oneOf(field(path, "max"), t.Max, tlsVersions...)...)
	oldest, newest := slices.Index(tlsVersions, t.Min), slices.Index(tlsVersions, t.Max)
	if oldest > 0 && newest > 0 && oldest > newest {
		v.Add(field(path, "min"), "must not be newer than max, %s", t.Max)
	}
	return v
}
