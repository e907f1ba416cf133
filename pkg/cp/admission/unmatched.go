package admission

import (
	"context"
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// unmatched warns of selectors that match nothing which the mesh has now. That
// is no fault, as what they mean may come later; but so does a typing error
// look, and a policy that never applies is found late.
func (a *Admission) unmatched(ctx context.Context, meshName string, p *mesh.TrafficPermission) (warnings []string, err error) {
	carries, err := a.carries(ctx, meshName)
	if err != nil {
		return nil, err
	}
	for _, list := range []struct {
		path      string
		selectors []mesh.Selector
	}{{"sources", p.Sources}, {"destinations", p.Destinations}} {
		for i, s := range list.selectors {
			if !carries(s) {
				warnings = append(warnings, fmt.Sprintf("%s[%d]: no dataplane of mesh %q has %s yet; is it spelt as meant?", list.path, i, meshName, s.Match))
			}
		}
	}
	return warnings, nil
}

func (a *Admission) carries(ctx context.Context, meshName string) (func(mesh.Selector) bool, error) {
	if a.Carries != nil {
		return a.Carries(ctx, meshName)
	}
	page, err := a.Store.List(ctx, store.Query{Kind: mesh.DataplaneKind, Mesh: meshName})
	if err != nil {
		return nil, err
	}
	return func(s mesh.Selector) bool {
		return slices.ContainsFunc(page.Items, func(r mesh.Resource) bool {
			return slices.ContainsFunc(r.Spec.(*mesh.Dataplane).TagSets(), s.Matches)
		})
	}, nil
}
