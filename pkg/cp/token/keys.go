package token

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// A serial numbers a mesh's signing keys, from 1. The highest signs, all verify.
type serial uint64

func (s serial) String() string { return strconv.FormatUint(uint64(s), 10) }

// parseSerial reads a token's kid header, which is whatever a stranger sent.
func parseSerial(kid any) (serial, error) {
	text, ok := kid.(string)
	if !ok {
		return 0, refused("its header names no signing key (kid must be a string): %s", remedy)
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || serial(n).String() != text {
		return 0, refused("its header names a signing key that cannot be (kid must be a number): %s", remedy)
	}
	return serial(n), nil
}

func keyPrefix(meshName string) string { return "dataplane-token-signing-key-" + meshName + "-" }

func keyName(meshName string, s serial) mesh.Key {
	return mesh.Key{Kind: mesh.SecretKind.Name, Mesh: meshName, Name: keyPrefix(meshName) + s.String()}
}

// keyCache spares parsing a key for each token. An entry counts only for the
// version of the Secret that it was read from.
type keyCache struct {
	mu   sync.Mutex
	seen map[mesh.Key]parsedKey
}

type parsedKey struct {
	version mesh.Version
	key     *rsa.PrivateKey
}

func (c *keyCache) parse(r mesh.Resource) (*rsa.PrivateKey, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.seen[r.Key()]; ok && e.version == r.Meta.Version {
		return e.key, nil
	}
	key, err := parseKey(r)
	if err != nil {
		return nil, err
	}
	if c.seen == nil {
		c.seen = make(map[mesh.Key]parsedKey)
	}
	c.seen[r.Key()] = parsedKey{r.Meta.Version, key}
	return key, nil
}

func (c *keyCache) forget(k mesh.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.seen, k)
}

func parseKey(r mesh.Resource) (*rsa.PrivateKey, error) {
	secret, ok := r.Spec.(*mesh.Secret)
	if !ok {
		return nil, fmt.Errorf("%s: is no Secret", r.Key())
	}
	block, _ := pem.Decode(secret.Data)
	if block == nil || block.Type != "RSA PRIVATE KEY" {
		return nil, fmt.Errorf("%s: must be a PEM block of type RSA PRIVATE KEY", r.Key())
	}
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: is no RSA key in PKCS #1 form", r.Key()) // the cause could quote key material
	}
	return key, nil
}

func (i *Issuer) key(ctx context.Context, meshName string, s serial) (*rsa.PrivateKey, error) {
	k := keyName(meshName, s)
	r, err := i.Store.Get(ctx, k)
	if err != nil {
		if errors.Is(err, store.ErrNotFound) {
			i.keys.forget(k)
		}
		return nil, err
	}
	return i.keys.parse(r)
}

func (i *Issuer) newestKey(ctx context.Context, meshName string) (serial, *rsa.PrivateKey, error) {
	page, err := i.Store.List(ctx, store.Query{Kind: mesh.SecretKind, Mesh: meshName, Name: keyPrefix(meshName)})
	if err != nil {
		return 0, nil, err
	}
	var newest serial
	var found *mesh.Resource
	for n, r := range page.Items {
		text, ok := strings.CutPrefix(r.Meta.Name, keyPrefix(meshName))
		if !ok {
			continue
		}
		if s, err := parseSerial(text); err == nil && (found == nil || s > newest) {
			newest, found = s, &page.Items[n]
		}
	}
	if found == nil {
		return 0, nil, fmt.Errorf("mesh %q: %w", meshName, ErrNoSigningKey)
	}
	key, err := i.keys.parse(*found)
	return newest, key, err
}

// Ensure makes the mesh's first signing key unless it has one. Of several
// control planes that do so at once one wins, and all succeed.
func (i *Issuer) Ensure(ctx context.Context, meshName string) error {
	_, _, err := i.newestKey(ctx, meshName)
	if !errors.Is(err, ErrNoSigningKey) {
		return err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("make signing key of mesh %q: %w", meshName, err)
	}
	k := keyName(meshName, 1)
	_, err = i.Store.Put(ctx, mesh.Resource{
		Kind: mesh.SecretKind,
		Meta: mesh.Meta{Mesh: k.Mesh, Name: k.Name},
		Spec: &mesh.Secret{Data: pem.EncodeToMemory(&pem.Block{
			Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key),
		})},
	})
	if err != nil && !errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("keep signing key of mesh %q: %w", meshName, err)
	}
	return nil
}
