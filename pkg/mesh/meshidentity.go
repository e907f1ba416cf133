package mesh

import "strings"

// A MeshIdentity gives the workloads that it chooses their certificates.
type MeshIdentity struct {
	Spec MeshIdentitySpec `json:"spec"`
}

// A MeshIdentitySpec says to whom, of what name, by whom.
type MeshIdentitySpec struct {
	Selector *IdentitySelector `json:"selector,omitempty"`
	SpiffeID *SpiffeIDTemplate `json:"spiffeID,omitempty"`
	Provider *IdentityProvider `json:"provider,omitempty"`
}

// An IdentitySelector picks dataplanes.
type IdentitySelector struct {
	Dataplane *LabelSelector `json:"dataplane,omitempty"` // without matchLabels none; with empty ones all
}

// A SpiffeIDTemplate makes spiffe://trustDomain/path. Templates are Go's, with
// .Mesh, .Zone, .Namespace, .ServiceAccount, .Workload and label "key".
type SpiffeIDTemplate struct {
	TrustDomain string `json:"trustDomain,omitempty"` // default "{{ .Mesh }}.{{ .Zone }}.mesh.local"
	Path        string `json:"path,omitempty"`        // default "/workload/{{ .Workload }}"
}

// An IdentityProvider is the one field that its type names.
type IdentityProvider struct {
	Type      string           `json:"type,omitempty"` // Bundled, Spire, Extension
	Bundled   *BundledProvider `json:"bundled,omitempty"`
	Spire     *SpireProvider   `json:"spire,omitempty"`
	Extension *Extension       `json:"extension,omitempty"`
}

// A BundledProvider signs in the control plane.
type BundledProvider struct {
	MeshTrustCreation       string                 `json:"meshTrustCreation,omitempty"` // Enabled (default), Disabled
	InsecureAllowSelfSigned *bool                  `json:"insecureAllowSelfSigned,omitempty"`
	Autogenerate            *Autogenerate          `json:"autogenerate,omitempty"`
	CA                      *BundledCA             `json:"ca,omitempty"`
	CertificateParameters   *CertificateParameters `json:"certificateParameters,omitempty"`
}

// Autogenerate has the control plane make the authority itself.
type Autogenerate struct {
	Enabled *bool `json:"enabled,omitempty"`
}

// A BundledCA is an authority that was made elsewhere.
type BundledCA struct {
	Certificate *SecureDataSource `json:"certificate,omitempty"`
	PrivateKey  *SecureDataSource `json:"privateKey,omitempty"`
}

// CertificateParameters are of the certificates that are signed.
type CertificateParameters struct {
	Expiry string `json:"expiry,omitempty"` // a Go duration; default 24h
}

// A SpireProvider has certificates from the agent of SPIRE on the host.
type SpireProvider struct {
	Agent *SpireAgent `json:"agent,omitempty"`
}

// A SpireAgent is how it is waited for.
type SpireAgent struct {
	Timeout string `json:"timeout,omitempty"` // a Go duration
}

// Validate tells everything that is wrong with it.
func (s *MeshIdentity) Validate() (v Violations) {
	c := &s.Spec
	if c.Selector != nil {
		v = append(v, c.Selector.Dataplane.validate("spec.selector.dataplane")...)
	}
	if id, at := c.SpiffeID, "spec.spiffeID"; id != nil {
		sample := map[string]any{"Mesh": "m", "Zone": "z", "Namespace": "n", "ServiceAccount": "s", "Workload": "w"}
		domain, bad := trySample(field(at, "trustDomain"), id.TrustDomain, sample)
		if len(bad) == 0 && domain != "" && !namePattern.MatchString(domain) {
			bad.Add(field(at, "trustDomain"), "makes %.80q, which is no trust domain: %s", domain, nameRule)
		}
		v = append(v, bad...)
		path, bad := trySample(field(at, "path"), id.Path, sample)
		if len(bad) == 0 && path != "" && !strings.HasPrefix(path, "/") {
			bad.Add(field(at, "path"), `makes %.80q; it must begin with "/"`, path)
		}
		v = append(v, bad...)
	}
	p, at := c.Provider, "spec.provider"
	if p == nil {
		v.Add(at, "must be given, as in {type: Bundled, bundled: {autogenerate: {enabled: true}}}")
		return v
	}
	v = append(v, oneByType(at, p.Type, []part{
		{"Bundled", "bundled", p.Bundled != nil, true},
		{"Spire", "spire", p.Spire != nil, false},
		{"Extension", "extension", p.Extension != nil, true},
	})...)
	v = append(v, p.Bundled.validate(field(at, "bundled"))...)
	if p.Spire != nil && p.Spire.Agent != nil {
		v = append(v, validateDuration(field(at, "spire.agent.timeout"), p.Spire.Agent.Timeout)...)
	}
	if p.Extension != nil {
		v = append(v, notEmpty(field(at, "extension.type"), p.Extension.Type)...)
	}
	return v
}

func (b *BundledProvider) validate(path string) (v Violations) {
	if b == nil {
		return nil
	}
	v = append(v, oneOf(field(path, "meshTrustCreation"), b.MeshTrustCreation, "Enabled", "Disabled")...)
	made := b.Autogenerate != nil && b.Autogenerate.Enabled != nil && *b.Autogenerate.Enabled
	switch {
	case made && b.CA != nil:
		v.Add(field(path, "ca"), "must be left out where autogenerate is enabled")
	case !made && b.CA == nil:
		v.Add(field(path, "ca"), "must be given, or autogenerate enabled")
	}
	if ca, at := b.CA, field(path, "ca"); ca != nil {
		v = append(v, ca.Certificate.needed(field(at, "certificate"))...)
		v = append(v, ca.PrivateKey.needed(field(at, "privateKey"))...)
	}
	if b.CertificateParameters != nil {
		v = append(v, validateDuration(field(path, "certificateParameters.expiry"), b.CertificateParameters.Expiry)...)
	}
	return v
}
