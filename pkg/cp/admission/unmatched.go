package admission

import (
	"context"
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// unmatched warns of selectors of a permission that match nothing which the mesh
// has now. That is no fault, as what they mean may come later; but so does a
// typing error look, and a policy that never applies is found late. Where it
// cannot be told what the mesh has, nobody is warned.
func (a *Admission) unmatched(ctx context.Context, r mesh.Resource) (warnings []string) {
	p, ok := r.Spec.(*mesh.TrafficPermission)
	if !ok {
		return nil
	}
	for _, list := range []struct {
		path      string
		selectors []mesh.Selector
	}{{"sources", p.Sources}, {"destinations", p.Destinations}} {
		for i, s := range list.selectors {
			if there, err := a.carries(ctx, r.Meta.Mesh, s); err == nil && !there {
				warnings = append(warnings, fmt.Sprintf("%s[%d]: no dataplane of mesh %q has %s yet; is it spelt as meant?", list.path, i, r.Meta.Mesh, s.Match))
			}
		}
	}
	return warnings
}

func (a *Admission) carries(ctx context.Context, meshName string, s mesh.Selector) (bool, error) {
	if a.Carries != nil {
		return a.Carries(ctx, meshName, s)
	}
	page, err := a.Store.List(ctx, store.Query{Kind: mesh.DataplaneKind, Mesh: meshName})
	return slices.ContainsFunc(page.Items, func(r mesh.Resource) bool {
		return slices.ContainsFunc(r.Spec.(*mesh.Dataplane).TagSets(), s.Matches)
	}), err
}
