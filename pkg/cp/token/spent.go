package token

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

const spentPrefix = "dataplane-token-spent-"

// SpentKey names the Secret that says for which key a token for one joining was
// spent, and when it would have ended.
func SpentKey(meshName, id string) mesh.Key {
	return mesh.Key{Kind: mesh.SecretKind.Name, Mesh: meshName, Name: spentPrefix + id}
}

// Spend uses a verified token up for the certificate of a key, if it is for one
// joining only. Of any number at once, at any number of control planes, one
// succeeds: the store makes the Secret once. The same key may come again, as its
// host may not have heard the answer. Errors wrap ErrRefused.
func (i *Issuer) Spend(ctx context.Context, c Claims, key crypto.PublicKey) error {
	if !c.Once {
		return nil
	}
	if c.ID == "" || c.ExpiresAt == nil {
		return refused("it is for one joining but has no id or no end: %s", Family{Kind: Dataplane}.remedy())
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return fmt.Errorf("spend dataplane token: %w", err)
	}
	sum := sha256.Sum256(der)
	k := SpentKey(c.Mesh, c.ID)
	text := hex.EncodeToString(sum[:]) + " " + strconv.FormatInt(c.ExpiresAt.Unix(), 10)
	_, err = i.Store.Put(ctx, mesh.Resource{
		Kind: mesh.SecretKind, Meta: mesh.Own(k), Spec: &mesh.Secret{Data: []byte(text)},
	})
	if errors.Is(err, store.ErrConflict) {
		return i.spentFor(ctx, k, text)
	}
	if err != nil {
		return fmt.Errorf("spend dataplane token: %w", err)
	}
	i.forgetSpent(ctx, c.Mesh)
	return nil
}

func (i *Issuer) spentFor(ctx context.Context, k mesh.Key, text string) error {
	r, err := i.Store.Get(ctx, k)
	if err != nil {
		return fmt.Errorf("read whether the dataplane token is spent: %w", err)
	}
	if s, ok := r.Spec.(*mesh.Secret); ok && string(s.Data) == text {
		return nil
	}
	return refused("it was good for one joining, and has been used: %s", Family{Kind: Dataplane}.remedy())
}

// forgetSpent removes what says that tokens are spent which have ended since.
// What cannot be removed now is so the next time.
func (i *Issuer) forgetSpent(ctx context.Context, meshName string) {
	page, err := i.Store.List(ctx, store.Query{Kind: mesh.SecretKind, Mesh: meshName, Name: spentPrefix})
	if err != nil {
		return
	}
	for _, r := range page.Items {
		s, ok := r.Spec.(*mesh.Secret)
		if !ok || !strings.HasPrefix(r.Meta.Name, spentPrefix) {
			continue
		}
		_, end, _ := strings.Cut(string(s.Data), " ")
		if n, err := strconv.ParseInt(end, 10, 64); err == nil && i.now().After(time.Unix(n, 0).Add(time.Hour)) {
			_ = i.Store.Delete(ctx, r.Key(), r.Meta.Version)
		}
	}
}
