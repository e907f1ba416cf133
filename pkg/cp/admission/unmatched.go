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
	there, err := a.dataplanes(ctx, meshName)
	if err != nil {
		return nil, err
	}
	for _, list := range []struct {
		path      string
		selectors []mesh.Selector
	}{{"sources", p.Sources}, {"destinations", p.Destinations}} {
		for i, s := range list.selectors {
			if !slices.ContainsFunc(there, func(r *mesh.Resource) bool { return matches(r.Spec, s) }) {
				warnings = append(warnings, fmt.Sprintf("%s[%d]: no dataplane of mesh %q has %s yet; is it spelt as meant?", list.path, i, meshName, s.Match))
			}
		}
	}
	return warnings, nil
}

// dataplanes are those of a mesh, with every one that was stored before.
func (a *Admission) dataplanes(ctx context.Context, meshName string) (all []*mesh.Resource, err error) {
	if a.Seen != nil {
		return a.Seen(ctx, meshName)
	}
	page, err := a.Store.List(ctx, store.Query{Kind: mesh.DataplaneKind, Mesh: meshName})
	if err != nil {
		return nil, err
	}
	for i := range page.Items {
		all = append(all, &page.Items[i])
	}
	return all, nil
}

// matches tells whether any part of a dataplane carries what s wants.
func matches(spec mesh.Spec, s mesh.Selector) bool {
	dp, ok := spec.(*mesh.Dataplane)
	return ok && slices.ContainsFunc(dp.TagSets(), s.Matches)
}
