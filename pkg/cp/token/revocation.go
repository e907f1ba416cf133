package token

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// RevocationsKey names the Secret that lists the ids (jti) of a mesh's revoked
// dataplane tokens, separated by commas.
func RevocationsKey(meshName string) mesh.Key { return Family{Dataplane, meshName}.revocations()[0] }

// Revoked tells whether the dataplane token of that id is on the mesh's list.
// The list is read each time: a revocation counts from the moment it is stored.
func (i *Issuer) Revoked(ctx context.Context, meshName, id string) (bool, error) {
	return i.revoked(ctx, Family{Dataplane, meshName}, id)
}

func (i *Issuer) revoked(ctx context.Context, f Family, id string) (bool, error) {
	for _, k := range f.revocations() {
		ids, _, err := i.revocations(ctx, k)
		if err != nil {
			return false, fmt.Errorf("read the revoked %s: %w", f, err)
		}
		if slices.Contains(ids, id) {
			return true, nil
		}
	}
	return false, nil
}

// revocations reads one list; none is an empty one, of version 0.
func (i *Issuer) revocations(ctx context.Context, k mesh.Key) (ids []string, at mesh.Version, err error) {
	r, err := i.Store.Get(ctx, k)
	if errors.Is(err, store.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	secret, ok := r.Spec.(*mesh.Secret)
	if !ok {
		return nil, 0, fmt.Errorf("%s: is no Secret", r.Key())
	}
	for id := range strings.SplitSeq(string(secret.Data), ",") {
		if id = strings.TrimSpace(id); id != "" {
			ids = append(ids, id)
		}
	}
	return ids, r.Meta.Version, nil
}

func (i *Issuer) checkRevoked(ctx context.Context, f Family, id string) error {
	revoked, err := i.revoked(ctx, f, id)
	if err != nil {
		return err
	}
	if revoked {
		return refused("it was revoked: %s", f.remedy())
	}
	return nil
}

// Revoke puts the id of a token on the family's list. It counts at once, on open
// streams too. It succeeds where it is there already.
func (i *Issuer) Revoke(ctx context.Context, f Family, id string) error {
	if id = strings.TrimSpace(id); id == "" || len(id) > 128 || strings.ContainsAny(id, ", \t\r\n") {
		var v mesh.Violations
		v.Add("id", "must be the id of a token (its claim jti), without comma and space, is %s", short(id))
		return v
	}
	k := f.revocations()[0]
	for try := 0; ; try++ {
		ids, at, err := i.revocations(ctx, k)
		if err != nil {
			return fmt.Errorf("revoke one of the %s: %w", f, err)
		}
		if slices.Contains(ids, id) {
			return nil
		}
		meta := mesh.Own(k)
		meta.Version = at
		_, err = i.Store.Put(ctx, mesh.Resource{
			Kind: f.secretKind(), Meta: meta, Spec: &mesh.Secret{Data: []byte(strings.Join(append(ids, id), ","))},
		})
		if err == nil {
			return nil
		}
		if !errors.Is(err, store.ErrConflict) || try == 5 {
			return fmt.Errorf("revoke one of the %s: %w", f, err)
		}
	}
}
