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
// look, and a policy that never applies is found late. The store is read only
// for what Seen does not settle: that may be a moment old.
func (a *Admission) unmatched(ctx context.Context, meshName string, p *mesh.TrafficPermission) (warnings []string, err error) {
	type written struct {
		path string
		mesh.Selector
	}
	var open []written
	for _, list := range []struct {
		path      string
		selectors []mesh.Selector
	}{{"sources", p.Sources}, {"destinations", p.Destinations}} {
		for i, s := range list.selectors {
			open = append(open, written{fmt.Sprintf("%s[%d]", list.path, i), s})
		}
	}
	if a.Seen != nil {
		seen := a.Seen(meshName)
		open = slices.DeleteFunc(open, func(w written) bool {
			return slices.ContainsFunc(seen, func(r *mesh.Resource) bool { return matches(r.Spec, w.Selector) })
		})
	}
	if len(open) == 0 {
		return nil, nil
	}
	all, err := a.Store.List(ctx, store.Query{Kind: mesh.DataplaneKind, Mesh: meshName})
	if err != nil {
		return nil, err
	}
	for _, w := range open {
		if !slices.ContainsFunc(all.Items, func(r mesh.Resource) bool { return matches(r.Spec, w.Selector) }) {
			warnings = append(warnings, fmt.Sprintf("%s: no dataplane of mesh %q has %s yet; is it spelt as meant?", w.path, meshName, w.Match))
		}
	}
	return warnings, nil
}

// matches tells whether any part of a dataplane carries what s wants.
func matches(spec mesh.Spec, s mesh.Selector) bool {
	dp, ok := spec.(*mesh.Dataplane)
	return ok && slices.ContainsFunc(dp.TagSets(), s.Matches)
}
