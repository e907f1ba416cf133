package mesh

import (
	"crypto/x509"
	"encoding/pem"
)

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
func (s *MeshTrust) Validate() (v Violations) {
	c := &s.Spec
	if !namePattern.MatchString(c.TrustDomain) {
		v.Add("spec.trustDomain", nameRule)
	}
	if len(c.CABundles) == 0 {
		v.Add("spec.caBundles", "must have at least one bundle of certificates")
	}
	for i, b := range c.CABundles {
		at := field("spec.caBundles", i)
		v = append(v, oneByType(at, b.Type, []part{{"Pem", "pem", b.PEM != nil, true}})...)
		if b.PEM != nil {
			v = append(v, validateCertificates(field(at, "pem.value"), b.PEM.Value)...)
		}
	}
	return v
}

// validateCertificates wants certificates in PEM and nothing else.
func validateCertificates(path, text string) (v Violations) {
	rest, n := []byte(text), 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if _, err := x509.ParseCertificate(block.Bytes); block.Type != "CERTIFICATE" || err != nil {
			v.Add(path, "block %d is no certificate", n+1)
			return v
		}
		n++
	}
	if n == 0 {
		v.Add(path, "must be certificates in PEM")
	}
	return v
}
