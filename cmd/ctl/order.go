package main

import (
	"cmp"
	"context"
	"slices"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// inOrder puts first what others refer to, by the table of kinds; what is alike
// stays as it was written. A Mesh comes before what is in it, but for the Secrets
// of its authority: without those it would be refused.
func inOrder(rs []mesh.Resource) []mesh.Resource {
	written := map[mesh.Key]bool{}
	for _, r := range rs {
		written[r.Key()] = true
	}
	rank := func(r mesh.Resource) float64 {
		if needsSecrets(r, written) {
			return float64(slices.Index(mesh.Kinds, mesh.SecretKind)) + 0.5
		}
		return float64(slices.Index(mesh.Kinds, r.Kind))
	}
	slices.SortStableFunc(rs, func(a, b mesh.Resource) int { return cmp.Compare(rank(a), rank(b)) })
	return rs
}

// needsSecrets tells whether r is a Mesh whose authority is made of Secrets that
// are written too.
func needsSecrets(r mesh.Resource, written map[mesh.Key]bool) bool {
	spec, ok := r.Spec.(*mesh.MeshSpec)
	if !ok || spec.MTLS == nil {
		return false
	}
	return slices.ContainsFunc(spec.MTLS.Backends, func(b mesh.MTLSBackend) bool {
		return slices.ContainsFunc(b.Secrets(r.Meta.Name), func(name string) bool {
			return written[mesh.Key{Kind: mesh.SecretKind.Name, Mesh: r.Meta.Name, Name: name}]
		})
	})
}

// found makes the mesh of a Secret where that comes later in rs and is not there:
// without mTLS, which follows with the Mesh itself. Nobody is in it yet.
func found(ctx context.Context, c *api.Client, secret mesh.Resource, rs []mesh.Resource) (made bool, err error) {
	if secret.Kind != mesh.SecretKind {
		return false, nil
	}
	i := slices.IndexFunc(rs, func(r mesh.Resource) bool { return r.Kind == mesh.MeshKind && r.Meta.Name == secret.Meta.Mesh })
	if i < 0 {
		return false, nil
	}
	if _, err := c.Get(ctx, mesh.MeshKind, "", secret.Meta.Mesh); !notFound(err) {
		return false, err
	}
	bare := rs[i]
	spec := *bare.Spec.(*mesh.MeshSpec)
	spec.MTLS = nil
	if r := spec.Routing; r != nil && r.ZoneEgress { // which needs mTLS
		without := *r
		without.ZoneEgress, spec.Routing = false, &without
	}
	bare.Spec = &spec
	made, _, err = c.Put(ctx, bare)
	return made, err
}
