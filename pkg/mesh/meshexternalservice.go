package mesh

import (
	"encoding/json"
	"strings"
)

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
func (s *MeshExternalService) Validate() (v Violations) {
	c := &s.Spec
	if m := c.Match; m == nil {
		v.Add("spec.match", "must be given, as in {type: HostnameGenerator, port: 443, protocol: http}")
	} else {
		v = append(v, oneOf("spec.match.type", m.Type, "HostnameGenerator")...)
		v = append(v, validatePort("spec.match.port", m.Port)...)
		v = append(v, oneOf("spec.match.protocol", m.Protocol, "tcp", "http", "http2", "grpc")...)
	}
	for i, e := range c.Endpoints {
		v = append(v, e.validate(field("spec.endpoints", i))...)
	}
	if c.Extension != nil {
		v = append(v, notEmpty("spec.extension.type", c.Extension.Type)...)
	} else if len(c.Endpoints) == 0 {
		v.Add("spec.endpoints", "must have at least one endpoint")
	}
	return append(v, c.TLS.validate("spec.tls")...)
}

// lastPriority is how far down endpoints can stand.
const lastPriority = 128

func (e *ExternalEndpoint) validate(path string) (v Violations) {
	if e.Priority != nil && *e.Priority > lastPriority {
		v.Add(field(path, "priority"), "must be from 0 to %d", lastPriority)
	}
	if socket, ok := strings.CutPrefix(e.Address, "unix://"); ok {
		if !strings.HasPrefix(socket, "/") {
			v.Add(field(path, "address"), "must be the absolute path of a socket, as in unix:///run/db.sock")
		}
		if e.Port != 0 {
			v.Add(field(path, "port"), "must be left out for a unix socket")
		}
		return v
	}
	v = append(v, validateHost(field(path, "address"), e.Address)...)
	return append(v, validatePort(field(path, "port"), e.Port)...)
}

func (t *MeshExternalTLS) validate(path string) (v Violations) {
	if t == nil {
		return nil
	}
	v = append(v, t.Version.validate(field(path, "version"))...)
	c, at := t.Verification, field(path, "verification")
	if c == nil {
		return v
	}
	v = append(v, oneOf(field(at, "mode"), c.Mode, "Secured", "SkipSAN", "SkipCA", "SkipAll")...)
	v = append(v, validateHostname(field(at, "serverName"), c.ServerName)...)
	for i := range c.SubjectAltNames {
		v = append(v, c.SubjectAltNames[i].validate(field(at, "subjectAltNames", i), matchExact, matchPrefix)...)
	}
	v = append(v, c.CACert.validate(field(at, "caCert"))...)
	v = append(v, c.ClientCert.validate(field(at, "clientCert"))...)
	v = append(v, c.ClientKey.validate(field(at, "clientKey"))...)
	switch {
	case c.ClientCert != nil && c.ClientKey == nil:
		v.Add(field(at, "clientKey"), "must be given with clientCert")
	case c.ClientCert == nil && c.ClientKey != nil:
		v.Add(field(at, "clientCert"), "must be given with clientKey")
	}
	return v
}
