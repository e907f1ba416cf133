package token

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// RevocationsKey names the Secret that lists the ids (jti) of a mesh's revoked
// tokens, separated by commas.
func RevocationsKey(meshName string) mesh.Key {
	return mesh.Key{Kind: mesh.SecretKind.Name, Mesh: meshName, Name: "dataplane-token-revocations-" + meshName}
}

// Revoked tells whether the token of that id is on the mesh's list. The list is
// read each time: a revocation counts from the moment it is stored.
func (i *Issuer) Revoked(ctx context.Context, meshName, id string) (bool, error) {
	r, err := i.Store.Get(ctx, RevocationsKey(meshName))
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read revoked tokens of mesh %q: %w", meshName, err)
	}
	secret, ok := r.Spec.(*mesh.Secret)
	if !ok {
		return false, fmt.Errorf("%s: is no Secret", r.Key())
	}
	for revoked := range strings.SplitSeq(string(secret.Data), ",") {
		if revoked = strings.TrimSpace(revoked); revoked != "" && revoked == id {
			return true, nil
		}
	}
	return false, nil
}

func (i *Issuer) checkRevoked(ctx context.Context, meshName, id string) error {
	revoked, err := i.Revoked(ctx, meshName, id)
	if err != nil {
		return err
	}
	if revoked {
		return refused("it was revoked: %s", remedy)
	}
	return nil
}
