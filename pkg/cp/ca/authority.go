package ca

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// An authority is a key that signs, and how others come to believe it.
type authority struct {
	cert  *x509.Certificate
	key   crypto.Signer
	chain []byte // PEM: what a leaf is shown with, from cert up to below the root; none where cert is the root
	root  []byte // PEM
}

func (a authority) fingerprint() string {
	sum := sha256.Sum256(a.cert.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// newAuthority reads a certificate with its chain and the key that belongs to
// it.
func newAuthority(certs, key []byte) (a authority, err error) {
	var all []*x509.Certificate
	for rest := certs; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return a, fmt.Errorf("has a PEM block of type %.32q, only CERTIFICATE is allowed", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return a, errors.New("has a block that is no certificate")
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return a, errors.New("is no certificate in PEM")
	}
	for i, c := range all[1:] {
		if all[i].CheckSignatureFrom(c) != nil {
			return a, fmt.Errorf("certificate %d of its chain did not sign the one before it", i+2)
		}
	}
	last := all[len(all)-1]
	if last.CheckSignatureFrom(last) != nil {
		return a, errors.New("its chain does not end at a root: add the certificates above it, up to the one that signs itself")
	}
	a.cert, a.root = all[0], certPEM(last.Raw)
	for _, c := range all[:len(all)-1] {
		a.chain = append(a.chain, certPEM(c.Raw)...)
	}
	if a.key, err = parseSigner(key); err != nil {
		return a, fmt.Errorf("its key %w", err)
	}
	if !samePublic(a.cert.PublicKey, a.key.Public()) {
		return a, errors.New("its key is of another certificate")
	}
	return a, nil
}

// A trust is whom a mesh believes, and who signs in it.
type trust struct {
	signer authority
	roots  []byte // PEM, the signer's first, each once
}

// trust reads a mesh's authorities. What a backend lacks that does not sign
// leaves it out; Ensure has told.
func (m *Meshes) trust(ctx context.Context, meshName string, spec *mesh.MeshSpec) (t trust, err error) {
	enabled, err := backend(meshName, spec)
	if err != nil {
		return t, err
	}
	var roots [][]byte
	for _, be := range spec.MTLS.Backends {
		g, err := m.generation(ctx, meshName, be)
		if be.Name != enabled.Name {
			if err == nil {
				roots = append(roots, g.roots...)
			}
			continue
		}
		if err != nil {
			return t, fmt.Errorf("load authority %q of mesh %q: %w", be.Name, meshName, err)
		}
		t.signer = g.signer
		roots = append(roots, g.roots...)
	}
	t.roots = slices.Clone(t.signer.root)
	for _, r := range roots {
		if !bytes.Contains(t.roots, r) {
			t.roots = append(t.roots, r...)
		}
	}
	return t, nil
}

// A generation is what one backend is now: while it rotates it has two roots.
type generation struct {
	signer authority
	roots  [][]byte
}

func (m *Meshes) generation(ctx context.Context, meshName string, be mesh.MTLSBackend) (g generation, err error) {
	if be.Type == Provided {
		g.signer, err = m.provided(ctx, meshName, be)
		g.roots = [][]byte{g.signer.root}
		return g, err
	}
	r, _, err := m.Rotation(ctx, meshName, be.Name)
	if err != nil && !errors.Is(err, ErrNoRotation) {
		return g, err
	}
	rotates := err == nil
	var next authority
	if rotates {
		if next, err = newAuthority(r.Cert, r.Key); err != nil {
			return g, fmt.Errorf("%s: %w", RotationKey(meshName, be.Name), err)
		}
		if r.Stage == Retire {
			return generation{next, [][]byte{next.root}}, nil
		}
	}
	if g.signer, err = m.builtin(ctx, meshName, be.Name); err != nil {
		return g, err
	}
	g.roots = [][]byte{g.signer.root}
	if rotates {
		g.roots = append(g.roots, next.root)
		if r.Stage == Renew {
			g.signer = next
		}
	}
	return g, nil
}

// builtin reads a builtin authority as its two Secrets have it.
func (m *Meshes) builtin(ctx context.Context, meshName, backend string) (authority, error) {
	cert, err := m.Store.Get(ctx, CertKey(meshName, backend))
	if err != nil {
		return authority{}, err
	}
	key, err := m.Store.Get(ctx, KeyKey(meshName, backend))
	if err != nil {
		return authority{}, err
	}
	return m.cache.get(cert, key)
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
	certData, err := secretData(cert)
	if err != nil {
		return authority{}, err
	}
	keyData, err := secretData(key)
	if err != nil {
		return authority{}, err
	}
	a, err := newAuthority(certData, keyData)
	if err == nil && !a.cert.IsCA {
		err = errors.New("is no authority's certificate")
	}
	if err != nil {
		return authority{}, fmt.Errorf("%s: %w", cert.Key(), err)
	}
	if c.seen == nil {
		c.seen = make(map[mesh.Key]seenAuthority)
	}
	c.seen[cert.Key()] = seenAuthority{cert.Meta.Version, key.Meta.Version, a}
	return a, nil
}

func secretData(r mesh.Resource) ([]byte, error) {
	s, ok := r.Spec.(*mesh.Secret)
	if !ok {
		return nil, fmt.Errorf("%s: is no Secret", r.Key())
	}
	return s.Data, nil
}

// A Bundle is whom the workloads of a mesh are to believe, and who signs for
// them.
type Bundle struct {
	Roots  []byte // PEM
	Issuer string // SHA-256 of the signing authority's SubjectPublicKeyInfo, in hex
}

// Bundle returns a mesh's; the zero value where it has no mTLS.
func (m *Meshes) Bundle(ctx context.Context, meshName string, spec *mesh.MeshSpec) (Bundle, error) {
	t, err := m.trust(ctx, meshName, spec)
	if errors.Is(err, ErrOff) {
		return Bundle{}, nil
	}
	if err != nil {
		return Bundle{}, err
	}
	return Bundle{Roots: t.roots, Issuer: t.signer.fingerprint()}, nil
}

// meshSpec reads a mesh.
func (m *Meshes) meshSpec(ctx context.Context, name string) (*mesh.MeshSpec, error) {
	r, err := m.Store.Get(ctx, mesh.Key{Kind: mesh.MeshKind.Name, Name: name})
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("mesh %q: %w", name, store.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	spec, ok := r.Spec.(*mesh.MeshSpec)
	if !ok {
		return nil, fmt.Errorf("%s: is no mesh", r.Key())
	}
	return spec, nil
}
