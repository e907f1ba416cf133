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
	"slices"
	"strings"
	"sync"
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
}

// Builtin is the authority of type "builtin" of every mesh. Keys and
// certificates are Secrets of the mesh. Its methods may be called at once from
// many goroutines.
type Builtin struct {
	Store Store
	Now   func() time.Time // nil: time.Now

	cache authorities
}

// Issued is what a workload gets.
type Issued struct {
	Certificate []byte // PEM: the workload's
	Roots       []byte // PEM: what its peers are verified with
	Expires     time.Time
}

func (b *Builtin) now() time.Time {
	if b.Now == nil {
		return time.Now()
	}
	return b.Now()
}

// backend is the mesh's authority; it fails with ErrOff where there is none.
func backend(meshName string, spec *mesh.MeshSpec) (mesh.MTLSBackend, error) {
	if spec == nil || spec.MTLS == nil || spec.MTLS.EnabledBackend == "" {
		return mesh.MTLSBackend{}, fmt.Errorf("mesh %q: %w", meshName, ErrOff)
	}
	for _, be := range spec.MTLS.Backends {
		if be.Name != spec.MTLS.EnabledBackend {
			continue
		}
		if be.Type != "builtin" {
			return be, fmt.Errorf("mesh %q: mtls backend %q has type %q; only builtin can sign", meshName, be.Name, be.Type)
		}
		return be, nil
	}
	return mesh.MTLSBackend{}, fmt.Errorf("mesh %q: mtls.enabledBackend names %q, which is not among its backends", meshName, spec.MTLS.EnabledBackend)
}

// Sign certifies a workload's public key for the URIs, which must be of the
// mesh's trust domain (spiffe://<mesh>/…) or tags (kuma://…). The certificate
// lives no longer than its authority. It fails with ErrOff where the mesh has
// no mTLS, with ErrIdentity for a URI that cannot be certified, and with
// store.ErrNotFound where Ensure was never called.
func (b *Builtin) Sign(ctx context.Context, meshName string, spec *mesh.MeshSpec, uris []string, pub crypto.PublicKey, lifetime time.Duration) (Issued, error) {
	be, err := backend(meshName, spec)
	if err != nil {
		return Issued{}, err
	}
	sans, err := workloadURIs(meshName, uris)
	if err != nil {
		return Issued{}, err
	}
	a, err := b.load(ctx, meshName, be.Name)
	if err != nil {
		return Issued{}, fmt.Errorf("load authority %q of mesh %q: %w", be.Name, meshName, err)
	}
	now := b.now()
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
	return Issued{Certificate: certPEM(der), Roots: slices.Clone(a.roots), Expires: template.NotAfter}, nil
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

type authority struct {
	cert  *x509.Certificate
	key   crypto.Signer
	roots []byte // PEM, as stored
}

// authorities spares parsing for each signature. An entry counts only for the
// versions of the two Secrets that it was read from.
type authorities struct {
	mu   sync.Mutex
	seen map[mesh.Key]seenAuthority // by the certificate's key
}

type seenAuthority struct {
	cert, key mesh.Version
	authority authority
}

func (c *authorities) get(cert, key mesh.Resource) (authority, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.seen[cert.Key()]; ok && e.cert == cert.Meta.Version && e.key == key.Meta.Version {
		return e.authority, nil
	}
	a, err := parseAuthority(cert, key)
	if err != nil {
		return authority{}, err
	}
	if c.seen == nil {
		c.seen = make(map[mesh.Key]seenAuthority)
	}
	c.seen[cert.Key()] = seenAuthority{cert.Meta.Version, key.Meta.Version, a}
	return a, nil
}

func parseAuthority(cert, key mesh.Resource) (a authority, err error) {
	certSecret, ok1 := cert.Spec.(*mesh.Secret)
	keySecret, ok2 := key.Spec.(*mesh.Secret)
	if !ok1 || !ok2 {
		return a, fmt.Errorf("%s and %s must be Secrets", cert.Key(), key.Key())
	}
	if a.cert, err = parseCert(certSecret.Data); err != nil {
		return a, fmt.Errorf("%s: %w", cert.Key(), err)
	}
	if a.key, err = parseSigner(keySecret.Data); err != nil {
		return a, fmt.Errorf("%s: %w", key.Key(), err)
	}
	if !a.cert.IsCA || !samePublic(a.cert.PublicKey, a.key.Public()) {
		return a, fmt.Errorf("%s is no authority's certificate of %s", cert.Key(), key.Key())
	}
	a.roots = slices.Clone(certSecret.Data)
	return a, nil
}
