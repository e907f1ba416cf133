package mesh

import (
	"slices"
	"time"
)

// The modes of an MTLSBackend.
const (
	Strict     = "STRICT"
	Permissive = "PERMISSIVE"
)

// What becomes of expired certificates while no control plane can be reached.
const (
	Grace      = "GRACE"
	FailClosed = "FAIL_CLOSED"
)

// DefaultCertLifetime is how long a workload's certificate lives where the
// mesh says nothing. Hosts keep working for half of it without a control plane.
const DefaultCertLifetime = 7 * 24 * time.Hour

// Backend returns the authority in force, nil where mTLS is off.
func (s *MeshSpec) Backend() *MTLSBackend {
	if s.MTLS == nil || s.MTLS.EnabledBackend == "" {
		return nil
	}
	for i := range s.MTLS.Backends {
		if b := &s.MTLS.Backends[i]; b.Name == s.MTLS.EnabledBackend {
			return b
		}
	}
	return nil
}

// KeepsSecret tells whether an authority of the mesh has its key in the Secret
// of this name, which then goes to no host.
func (s *MeshSpec) KeepsSecret(name string) bool {
	if s == nil || s.MTLS == nil {
		return false
	}
	return slices.ContainsFunc(s.MTLS.Backends, func(b MTLSBackend) bool {
		return b.Conf != nil && b.Conf.Key != nil && b.Conf.Key.Secret == name
	})
}

// PermittedOnly tells whether proxies are told only of services that some
// TrafficPermission lets them call.
func (s *MeshSpec) PermittedOnly() bool {
	return s.Networking != nil && s.Networking.Outbound != nil && s.Networking.Outbound.PermittedOnly
}

// Passthrough tells whether proxies let calls to unknown destinations out.
func (s *MeshSpec) Passthrough() bool {
	n := s.Networking
	return n == nil || n.Outbound == nil || n.Outbound.Passthrough == nil || *n.Outbound.Passthrough
}

// LocalityAware tells whether proxies prefer members of their own zone.
func (s *MeshSpec) LocalityAware() bool {
	return s.Routing != nil && s.Routing.LocalityAwareLoadBalancing
}

// Permissive tells whether inbounds take plain connections beside mTLS.
func (b *MTLSBackend) Permissive() bool { return b.Mode == Permissive }

// FailsClosed tells whether expired certificates are refused even while no
// control plane can be reached.
func (b *MTLSBackend) FailsClosed() bool {
	return b.DpCert != nil && b.DpCert.WithoutControlPlane == FailClosed
}

// CertLifetime returns how long a workload's certificate lives.
func (b *MTLSBackend) CertLifetime() time.Duration {
	if b.DpCert == nil || b.DpCert.Rotation == nil {
		return DefaultCertLifetime
	}
	d, err := ParseExpiration(b.DpCert.Rotation.Expiration)
	if err != nil || d == 0 {
		return DefaultCertLifetime // "" or what Validate refuses
	}
	return d
}
