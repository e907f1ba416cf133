package ca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/weft-mesh/weft/pkg/mesh"
)

var (
	// ErrOff: the mesh has no mTLS, and so nothing to sign with.
	ErrOff = errors.New("mesh has no mTLS")
	// ErrIdentity: a name cannot stand in a certificate of the mesh.
	ErrIdentity = errors.New("identity cannot be certified")
)

// Store is what a Builtin needs of the control plane's store.
type Store interface {
	Get(ctx context.Context, k mesh.Key) (mesh.Resource, error)
	Put(ctx context.Context, r mesh.Resource) (mesh.Resource, error)
	Delete(ctx context.Context, k mesh.Key, at mesh.Version) error
}

// Meshes are the authorities of all meshes: builtin ones, whose keys and
// certificates are Secrets of the mesh, and provided ones. Its methods may be
// called at once from many goroutines.
type Meshes struct {
	Store Store
	// ReadFile reads a file that a provided authority names; nil: there are none.
	ReadFile func(path string) ([]byte, error)
	Now      func() time.Time // nil: time.Now

	cache authorities
}

// Issued is what a workload gets.
type Issued struct {
	Certificate []byte // PEM: the workload's, then its chain, the root left out
	Roots       []byte // PEM: what its peers are verified with
	Expires     time.Time
}

func (m *Meshes) now() time.Time {
	if m.Now == nil {
		return time.Now()
	}
	return m.Now()
}

// backend is the mesh's authority; it fails with ErrOff where there is none.
func backend(meshName string, spec *mesh.MeshSpec) (mesh.MTLSBackend, error) {
	if spec == nil || spec.MTLS == nil || spec.MTLS.EnabledBackend == "" {
		return mesh.MTLSBackend{}, fmt.Errorf("mesh %q: %w", meshName, ErrOff)
	}
	be := spec.Backend()
	if be == nil {
		return mesh.MTLSBackend{}, fmt.Errorf("mesh %q: mtls.enabledBackend names %q, which is not among its backends", meshName, spec.MTLS.EnabledBackend)
	}
	return *be, nil
}

// Sign certifies a workload's public key for the URIs, which must be of the
// mesh's trust domain (spiffe://<mesh>/…) or tags (kuma://…). The certificate
// lives no longer than its authority. It fails with ErrOff where the mesh has
// no mTLS, with ErrIdentity for a URI that cannot be certified, and with
// store.ErrNotFound where Ensure was never called.
func (m *Meshes) Sign(ctx context.Context, meshName string, spec *mesh.MeshSpec, uris []string, pub crypto.PublicKey, lifetime time.Duration) (Issued, error) {
	be, err := backend(meshName, spec)
	if err != nil {
		return Issued{}, err
	}
	sans, err := workloadURIs(meshName, uris)
	if err != nil {
		return Issued{}, err
	}
	t, err := m.trust(ctx, meshName, spec)
	if err != nil {
		return Issued{}, err
	}
	a := t.signer
	now := m.now()
	if !now.Before(a.cert.NotAfter) {
		return Issued{}, fmt.Errorf("authority %q of mesh %q expired on %s; the mesh needs a new one", be.Name, meshName, a.cert.NotAfter.UTC().Format(time.DateOnly))
	}
	if lifetime <= 0 {
		return Issued{}, fmt.Errorf("sign for mesh %q: lifetime %s must be more than 0", meshName, lifetime)
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		NotBefore:             notBefore(now, lifetime),
		NotAfter:              earlier(now.Add(lifetime), a.cert.NotAfter).UTC().Truncate(time.Second), // as certificates have it
		URIs:                  sans,
		KeyUsage:              leafUsage(pub),
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, pub, a.key)
	if err != nil {
		return Issued{}, fmt.Errorf("sign for mesh %q: %w", meshName, err)
	}
	return Issued{Certificate: append(certPEM(der), a.chain...), Roots: t.roots, Expires: template.NotAfter}, nil
}

// leafUsage is what Kuma gives to RSA keys, less what other keys
// cannot do.
func leafUsage(pub crypto.PublicKey) x509.KeyUsage {
	switch pub.(type) {
	case *rsa.PublicKey:
		return x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	case *ecdsa.PublicKey:
		return x509.KeyUsageDigitalSignature | x509.KeyUsageKeyAgreement
	case ed25519.PublicKey:
		return x509.KeyUsageDigitalSignature
	}
	return x509.KeyUsageDigitalSignature
}

// Check tells whether Sign would certify the URIs. Where the mesh has no mTLS
// anything may be asked for, since nothing is signed.
func Check(meshName string, spec *mesh.MeshSpec, uris []string) error {
	_, err := backend(meshName, spec)
	if errors.Is(err, ErrOff) {
		return nil
	}
	if err == nil {
		_, err = workloadURIs(meshName, uris)
	}
	return err
}

func workloadURIs(meshName string, uris []string) ([]*url.URL, error) {
	if len(uris) == 0 {
		return nil, fmt.Errorf("%w: there is none; the mesh has mTLS, so give an inbound or the gateway the tag %q", ErrIdentity, mesh.ServiceTag)
	}
	var sans []*url.URL
	for _, text := range uris {
		u, err := uri(text)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrIdentity, err)
		}
		switch {
		case u.Scheme == "spiffe" && u.Host == meshName && strings.Trim(u.Path, "/") != "" && u.RawQuery == "":
		case u.Scheme == "kuma" && u.RawQuery == "":
		default:
			return nil, fmt.Errorf("%w: %q is not of mesh %q", ErrIdentity, text, meshName)
		}
		sans = append(sans, u)
	}
	return sans, nil
}
