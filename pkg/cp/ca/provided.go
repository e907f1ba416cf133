package ca

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// Types of backends.
const (
	Builtin  = "builtin"
	Provided = "provided"
)

// provided reads an authority that its owner brought.
func (m *Meshes) provided(ctx context.Context, meshName string, be mesh.MTLSBackend) (a authority, err error) {
	conf := be.Conf
	if conf == nil || conf.Cert == nil || conf.Key == nil {
		return a, errors.New("conf.cert and conf.key must be set")
	}
	cert, err := m.source(ctx, meshName, conf.Cert)
	if err != nil {
		return a, fmt.Errorf("conf.cert: %w", err)
	}
	key, err := m.source(ctx, meshName, conf.Key)
	if err != nil {
		return a, fmt.Errorf("conf.key: %w", err)
	}
	if a, err = newAuthority(cert, key); err != nil {
		return a, fmt.Errorf("conf.cert: %w", err)
	}
	return a, nil
}

// source reads what a DataSource names.
func (m *Meshes) source(ctx context.Context, meshName string, d *mesh.DataSource) ([]byte, error) {
	if data, ok := d.Written(); ok {
		return data, nil
	}
	if d.File != "" {
		if m.ReadFile == nil {
			return nil, errors.New("file: this control plane reads no files")
		}
		return m.ReadFile(d.File)
	}
	r, err := m.Store.Get(ctx, mesh.Key{Kind: mesh.SecretKind.Name, Mesh: meshName, Name: d.Secret})
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("there is no secret %q in mesh %q", d.Secret, meshName)
	}
	if err != nil {
		return nil, err
	}
	return secretData(r)
}

// checkProvided tells as violations why a provided authority cannot be used:
// of the i-th backend. skip leaves out what the reference calls validation: what
// an authority's certificate must and must not be for.
func (m *Meshes) checkProvided(ctx context.Context, meshName string, i int, be mesh.MTLSBackend, skip bool) error {
	var v mesh.Violations
	at := fmt.Sprintf("mtls.backends[%d]", i)
	a, err := m.provided(ctx, meshName, be)
	if err != nil {
		v.Add(at, "%s", err)
		return v.Err()
	}
	if skip {
		return nil
	}
	if err := checkKey(a.key.Public()); err != nil {
		v.Add(at+".conf.key", "must be ECDSA P-256, Ed25519, or RSA of 2048 to 4096 bits")
	}
	c := a.cert
	if !c.IsCA {
		v.Add(at+".conf.cert", "must be an authority's: basic constraint CA:TRUE is missing")
	}
	if c.KeyUsage&x509.KeyUsageCertSign == 0 {
		v.Add(at+".conf.cert", "must have the key usage keyCertSign")
	}
	for _, u := range []struct {
		usage x509.KeyUsage
		name  string
	}{{x509.KeyUsageKeyAgreement, "keyAgreement"}, {x509.KeyUsageKeyEncipherment, "keyEncipherment"}} {
		if c.KeyUsage&u.usage != 0 {
			v.Add(at+".conf.cert", "must not have the key usage %s: an authority signs and does nothing else; mtls.skipValidation allows it", u.name)
		}
	}
	if now := m.now(); now.After(c.NotAfter) {
		v.Add(at+".conf.cert", "ended on %s", c.NotAfter.UTC().Format("2006-01-02"))
	} else if now.Before(c.NotBefore) {
		v.Add(at+".conf.cert", "begins on %s only", c.NotBefore.UTC().Format("2006-01-02"))
	}
	return v.Err()
}
