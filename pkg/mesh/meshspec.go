package mesh

// A MeshSpec is one mesh: who may trust whom, and what holds for all of its
// proxies.
type MeshSpec struct {
	MTLS                        *MTLS         `json:"mtls,omitempty"`
	Networking                  *Networking   `json:"networking,omitempty"`
	Routing                     *Routing      `json:"routing,omitempty"`
	Constraints                 *Constraints  `json:"constraints,omitempty"`
	SkipCreatingInitialPolicies []string      `json:"skipCreatingInitialPolicies,omitempty"`
	MeshServices                *MeshServices `json:"meshServices,omitempty"`
	Logging                     *Logging      `json:"logging,omitempty"`
	Tracing                     *Tracing      `json:"tracing,omitempty"`
	Metrics                     *Metrics      `json:"metrics,omitempty"`
}

// MTLS names the certificate authority of a mesh.
type MTLS struct {
	EnabledBackend string        `json:"enabledBackend,omitempty"` // "" turns mTLS off
	SkipValidation bool          `json:"skipValidation,omitempty"`
	Backends       []MTLSBackend `json:"backends,omitempty"` // all are trusted, one signs
}

// An MTLSBackend is one certificate authority.
type MTLSBackend struct {
	Name      string       `json:"name"`
	Type      string       `json:"type"`           // "builtin" or "provided"
	Mode      string       `json:"mode,omitempty"` // "STRICT" (default) or "PERMISSIVE"
	DpCert    *DpCert      `json:"dpCert,omitempty"`
	RootChain *RootChain   `json:"rootChain,omitempty"`
	Conf      *BackendConf `json:"conf,omitempty"`
}

// DpCert is about the certificates of dataplanes.
type DpCert struct {
	Rotation       *CertRotation `json:"rotation,omitempty"`
	RequestTimeout string        `json:"requestTimeout,omitempty"`
	// WithoutControlPlane says what becomes of certificates that expire while no
	// control plane can be reached: "GRACE" (default) has hosts that have not
	// heard one for long let them in, until the authority itself expires;
	// "FAIL_CLOSED" has them refused. It is ours.
	WithoutControlPlane string `json:"withoutControlPlane,omitempty"`
}

// CertRotation says how long a dataplane's certificate lives.
type CertRotation struct {
	Expiration string `json:"expiration,omitempty"` // ^\d+(y|w|d|h|m|s|ms)$
}

// RootChain is about fetching the authority's own chain.
type RootChain struct {
	RequestTimeout string `json:"requestTimeout,omitempty"`
}

// BackendConf is the conf of an authority: CACert of a builtin one, Cert and Key
// of a provided one.
type BackendConf struct {
	CACert *BuiltinCACert `json:"caCert,omitempty"`
	Cert   *DataSource    `json:"cert,omitempty"` // PEM: the authority's, then its chain up to a root
	Key    *DataSource    `json:"key,omitempty"`  // PEM
}

// BuiltinCACert says what the authority's own certificate is like. With
// RSAbits it is RSA, without it ECDSA P-256.
type BuiltinCACert struct {
	RSAbits    uint32 `json:"RSAbits,omitempty"`
	Expiration string `json:"expiration,omitempty"` // default 10y
}

// Networking is how proxies of the mesh treat traffic that leaves it.
type Networking struct {
	Outbound *NetworkingOutbound `json:"outbound,omitempty"`
}

// NetworkingOutbound says whether unknown destinations may be reached.
type NetworkingOutbound struct {
	Passthrough *bool `json:"passthrough,omitempty"` // nil means true
	// PermittedOnly leaves out of each redirected proxy the services that no
	// TrafficPermission lets it call, where the mesh is STRICT. It is ours: a
	// mesh of hundreds of services otherwise tells every proxy of all of them.
	PermittedOnly bool `json:"permittedOnly,omitempty"`
}

// Routing is how endpoints of the mesh are chosen.
type Routing struct {
	LocalityAwareLoadBalancing             bool `json:"localityAwareLoadBalancing,omitempty"`
	ZoneEgress                             bool `json:"zoneEgress,omitempty"`
	DefaultForbidMeshExternalServiceAccess bool `json:"defaultForbidMeshExternalServiceAccess,omitempty"`
}

// MeshServices chooses how services are found.
type MeshServices struct {
	Mode string `json:"mode,omitempty"` // Disabled, Everywhere, ReachableBackends, Exclusive
}

// Constraints say which dataplanes may join the mesh.
type Constraints struct {
	DataplaneProxy *DataplaneConstraints `json:"dataplaneProxy,omitempty"`
}

// DataplaneConstraints let a dataplane join that meets at least one requirement
// (where there are any) and no restriction. The value "*" means "present".
type DataplaneConstraints struct {
	Requirements []TagRule `json:"requirements,omitempty"`
	Restrictions []TagRule `json:"restrictions,omitempty"`
}

// A TagRule is met by what carries all of its tags.
type TagRule struct {
	Tags Tags `json:"tags,omitempty"`
}
