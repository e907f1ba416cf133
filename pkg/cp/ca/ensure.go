package ca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// CertKey and KeyKey name the Secrets of a mesh's builtin authority.
func CertKey(meshName, backend string) mesh.Key {
	return mesh.Key{Kind: mesh.SecretKind.Name, Mesh: meshName, Name: mesh.CACertSecret(meshName, backend)}
}

// KeyKey names the Secret of the private key, see CertKey.
func KeyKey(meshName, backend string) mesh.Key {
	return mesh.Key{Kind: mesh.SecretKind.Name, Mesh: meshName, Name: mesh.CAKeySecret(meshName, backend)}
}

// Ensure makes the mesh's builtin authorities unless they are there: ECDSA
// P-256, or RSA where caCert.RSAbits asks for it, for caCert.expiration or ten
// years. Of a provided one it looks whether it can sign. It makes nothing where
// the mesh has no mTLS. Of several control planes that do so at
// once one wins and all succeed: the key is stored first, and whoever finds a
// key without a certificate makes one for that key.
func (m *Meshes) Ensure(ctx context.Context, meshName string, spec *mesh.MeshSpec) error {
	_, err := backend(meshName, spec)
	if errors.Is(err, ErrOff) {
		return nil
	}
	if err != nil {
		return err
	}
	for i, be := range spec.MTLS.Backends {
		if be.Type == Provided {
			err = m.checkProvided(ctx, meshName, i, be, spec.MTLS.SkipValidation)
		} else {
			err = m.ensure(ctx, meshName, be)
		}
		if err != nil {
			return fmt.Errorf("make authority %q of mesh %q: %w", be.Name, meshName, err)
		}
	}
	return nil
}

func (m *Meshes) ensure(ctx context.Context, meshName string, be mesh.MTLSBackend) error {
	bits, life, err := caShape(be)
	if err != nil {
		return err
	}
	stored, err := m.secret(ctx, KeyKey(meshName, be.Name), func() ([]byte, error) { return newCAKey(bits) })
	if err != nil {
		return err
	}
	key, err := parseSigner(stored)
	if err != nil {
		return fmt.Errorf("%s: %w", KeyKey(meshName, be.Name), err)
	}
	if _, err := m.secret(ctx, CertKey(meshName, be.Name), func() ([]byte, error) {
		return newCACert(meshName, key, m.now(), life)
	}); err != nil {
		return err
	}
	_, err = m.builtin(ctx, meshName, be.Name)
	return err
}

// secret returns the bytes of a Secret, made where it is not there yet.
func (m *Meshes) secret(ctx context.Context, k mesh.Key, fresh func() ([]byte, error)) ([]byte, error) {
	r, err := m.Store.Get(ctx, k)
	if errors.Is(err, store.ErrNotFound) {
		var data []byte
		if data, err = fresh(); err != nil {
			return nil, err
		}
		r, err = m.Store.Put(ctx, mesh.Resource{
			Kind: mesh.SecretKind, Meta: mesh.Own(k), Spec: &mesh.Secret{Data: data},
		})
		if errors.Is(err, store.ErrConflict) { // another control plane was faster
			r, err = m.Store.Get(ctx, k)
		}
	}
	if err != nil {
		return nil, err
	}
	s, ok := r.Spec.(*mesh.Secret)
	if !ok {
		return nil, fmt.Errorf("%s: is no Secret", k)
	}
	return s.Data, nil
}

func caShape(be mesh.MTLSBackend) (rsaBits int, life time.Duration, err error) {
	life = ownLife
	if be.Conf == nil || be.Conf.CACert == nil {
		return 0, life, nil
	}
	if bits := be.Conf.CACert.RSAbits; bits != 0 && (bits < 2048 || bits > 4096) {
		return 0, 0, fmt.Errorf("mtls backend %q: conf.caCert.RSAbits is %d, must be 2048 to 4096", be.Name, bits)
	}
	if e := be.Conf.CACert.Expiration; e != "" {
		if life, err = mesh.ParseExpiration(e); err != nil {
			return 0, 0, fmt.Errorf("mtls backend %q: conf.caCert.expiration: %w", be.Name, err)
		}
	}
	return int(be.Conf.CACert.RSAbits), life, nil
}

func newCAKey(rsaBits int) ([]byte, error) {
	if rsaBits == 0 {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		return signerPEM(key)
	}
	key, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), nil
}

func newCACert(meshName string, key crypto.Signer, now time.Time, life time.Duration) ([]byte, error) {
	id, err := uri("spiffe://" + meshName)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{Organization: []string{"weft"}, CommonName: meshName},
		NotBefore:             notBefore(now, life),
		NotAfter:              now.Add(life),
		URIs:                  []*url.URL{id},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return certPEM(der), nil
}
