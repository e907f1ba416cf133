package mesh

// A MeshTrust says whose certificates are believed, of which trust domain.
type MeshTrust struct {
	Spec MeshTrustSpec `json:"spec"`
}

// A MeshTrustSpec is a trust domain and its authorities.
type MeshTrustSpec struct {
	TrustDomain string     `json:"trustDomain,omitempty"`
	CABundles   []CABundle `json:"caBundles,omitempty"`
	Origin      *Origin    `json:"origin,omitempty"` // of what made it
}

// A CABundle is certificates of authorities.
type CABundle struct {
	Type string     `json:"type,omitempty"` // Pem
	PEM  *PEMBundle `json:"pem,omitempty"`
}

// A PEMBundle is certificates in PEM.
type PEMBundle struct {
	Value string `json:"value,omitempty"`
}

// An Origin names a resource by its KRI.
type Origin struct {
	KRI string `json:"kri,omitempty"`
}

// Validate tells everything that is wrong with it.
func (s *MeshTrust) Validate() (v Violations) { return nil }
