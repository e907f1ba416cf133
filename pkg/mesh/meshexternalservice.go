package mesh

import "encoding/json"

// A MeshExternalService is a service outside of the mesh, under a name of the
// mesh.
type MeshExternalService struct {
	Spec MeshExternalServiceSpec `json:"spec"`
}

// A MeshExternalServiceSpec says how it is called and where it is.
type MeshExternalServiceSpec struct {
	Match     *ExternalMatch     `json:"match,omitempty"`
	Endpoints []ExternalEndpoint `json:"endpoints,omitempty"`
	Extension *Extension         `json:"extension,omitempty"`
	TLS       *MeshExternalTLS   `json:"tls,omitempty"`
}

// An ExternalMatch is what of the mesh's calls goes there.
type ExternalMatch struct {
	Type     string `json:"type,omitempty"` // HostnameGenerator
	Port     uint32 `json:"port,omitempty"`
	Protocol string `json:"protocol,omitempty"` // tcp (default), http, http2, grpc
}

// An ExternalEndpoint is where it is.
type ExternalEndpoint struct {
	Address  string  `json:"address,omitempty"`  // IP, DNS name, or unix:///path
	Port     uint32  `json:"port,omitempty"`     // not for a unix socket
	Priority *uint32 `json:"priority,omitempty"` // 0 (default) is called first, 128 last
}

// An Extension is something that plugins of other builds read.
type Extension struct {
	Type   string          `json:"type,omitempty"`
	Config json.RawMessage `json:"config,omitempty"`
}

// MeshExternalTLS has the call leave the mesh as TLS.
type MeshExternalTLS struct {
	Enabled            bool                  `json:"enabled,omitempty"`
	Version            *TLSVersions          `json:"version,omitempty"`
	AllowRenegotiation bool                  `json:"allowRenegotiation,omitempty"`
	Verification       *ExternalVerification `json:"verification,omitempty"`
}

// An ExternalVerification says how the server is known.
type ExternalVerification struct {
	Mode            string      `json:"mode,omitempty"`       // Secured (default), SkipSAN, SkipCA, SkipAll
	ServerName      string      `json:"serverName,omitempty"` // default: the endpoint's
	SubjectAltNames []TextMatch `json:"subjectAltNames,omitempty"`
	CACert          *DataSource `json:"caCert,omitempty"`
	ClientCert      *DataSource `json:"clientCert,omitempty"` // with clientKey
	ClientKey       *DataSource `json:"clientKey,omitempty"`
}

// Validate tells everything that is wrong with it.
func (s *MeshExternalService) Validate() (v Violations) { return nil }
