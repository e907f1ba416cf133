package cp

import (
	"context"
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/pkg/cp/ca"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// kept is what control planes keep for themselves.
var kept = []mesh.Key{ca.OwnKey, adminTokenKey}

// A shown is a store as people read it: without what control planes keep for
// themselves. A role may let somebody read GlobalSecrets, and nobody has a use
// for these two: whoever had them would be the control plane, or the
// administrator, for good.
type shown struct{ store.Store }

func (s shown) Get(ctx context.Context, k mesh.Key) (mesh.Resource, error) {
	if slices.Contains(kept, k) {
		return mesh.Resource{}, fmt.Errorf("get %s: %w", k, store.ErrNotFound)
	}
	return s.Store.Get(ctx, k)
}

func (s shown) List(ctx context.Context, q store.Query) (store.Page, error) {
	if q.Kind != mesh.GlobalSecretKind {
		return s.Store.List(ctx, q)
	}
	return store.Pick(ctx, s.Store, q, func(r mesh.Resource) bool { return !slices.Contains(kept, r.Key()) })
}
