package cp

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/weft-mesh/weft/pkg/cp/ca"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/keyfile"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// What all control planes on a store have in common is in the store, sealed: the
// own authority and the administrator's token. The key that it is sealed by is
// what a further one has to be given.

// openOwn opens the own authority.
func (c *ControlPlane) openOwn(ctx context.Context) (*ca.Own, error) {
	o := ca.OwnOptions{Advertise: c.cfg.Advertise, Log: c.log.With("part", "ca")}
	if c.cfg.Store != StoreMemory { // which would lose it
		o.Store = c.newest
	}
	if c.board != nil {
		o.Claim = c.board.Claim
	}
	return ca.OpenOwn(ctx, c.cfg.DataDir, o)
}

// adminTokenKey names the GlobalSecret of the administrator's token.
var adminTokenKey = mesh.Key{Kind: mesh.GlobalSecretKind.Name, Name: "control-plane-admin-token"}

// adminToken returns the administrator's token: that of the store, or else of
// the file, or else a new one. The file is for people, and says what the store
// does.
func (c *ControlPlane) adminToken(ctx context.Context) (string, error) {
	path := filepath.Join(c.cfg.DataDir, "admin-token")
	text, err := c.sharedToken(ctx, path)
	if err != nil {
		return "", fmt.Errorf("admin token: %w", err)
	}
	return text, nil
}

func (c *ControlPlane) sharedToken(ctx context.Context, path string) (string, error) {
	if c.cfg.Store == StoreMemory {
		return ownToken(path)
	}
	r, err := c.newest.Get(ctx, adminTokenKey)
	if errors.Is(err, store.ErrNotFound) {
		var own string
		if own, err = ownToken(path); err != nil {
			return "", err
		}
		r, err = c.newest.Put(ctx, mesh.Resource{
			Kind: mesh.GlobalSecretKind, Meta: mesh.Meta{Name: adminTokenKey.Name}, Spec: &mesh.Secret{Data: []byte(own)},
		})
		if errors.Is(err, store.ErrConflict) { // another control plane was faster
			r, err = c.newest.Get(ctx, adminTokenKey)
		}
	}
	if err != nil {
		return "", err
	}
	secret, ok := r.Spec.(*mesh.Secret)
	if !ok {
		return "", fmt.Errorf("%s is no secret", r.Key())
	}
	token := strings.TrimSpace(string(secret.Data))
	if err := longEnough(r.Key().String(), token); err != nil {
		return "", err
	}
	was, err := keyfile.Read(path)
	switch {
	case err == nil && strings.TrimSpace(string(was)) == token:
		return token, nil
	case err == nil:
		c.log.Warn("admin token of the file was another one than that of the store, and is replaced", "file", path)
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	return token, keyfile.Write(path, []byte(token+"\n"))
}

// ownToken returns the token of a file, made where it is not there: 256 random
// bits.
func ownToken(path string) (string, error) {
	text, err := keyfile.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		secret := make([]byte, 32)
		if _, err := rand.Read(secret); err != nil {
			return "", err
		}
		text = []byte(base64.RawURLEncoding.EncodeToString(secret) + "\n")
		err = keyfile.Create(path, text)
	}
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(text))
	return token, longEnough(path, token)
}

func longEnough(where, token string) error {
	if len(token) < 32 {
		return fmt.Errorf("%s holds %d characters, too few to be safe: delete it, and the next start makes one", where, len(token))
	}
	return nil
}
