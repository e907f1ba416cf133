package admission

import (
	"context"
	"fmt"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// unmatched warns of selectors that match nothing which the mesh has now. That
// is no fault, as what they mean may come later; but so does a typing error
// look, and a policy that never applies is found late.
func (a *Admission) unmatched(ctx context.Context, meshName string, p *mesh.TrafficPermission) (warnings []string, err error) {
	all, err := a.Store.List(ctx, store.Query{Kind: mesh.DataplaneKind, Mesh: meshName})
	if err != nil {
		return nil, err
	}
	for _, list := range []struct {
		path      string
		selectors []mesh.Selector
	}{{"sources", p.Sources}, {"destinations", p.Destinations}} {
		for i, s := range list.selectors {
			if !anyMatches(all.Items, s) {
				warnings = append(warnings, fmt.Sprintf("%s[%d]: no dataplane of mesh %q has %s yet; is it spelt as meant?", list.path, i, meshName, s.Match))
			}
		}
	}
	return warnings, nil
}

func anyMatches(dataplanes []mesh.Resource, s mesh.Selector) bool {
	for _, r := range dataplanes {
		dp, ok := r.Spec.(*mesh.Dataplane)
		if !ok {
			continue
		}
		if g := dp.Networking.Gateway; g != nil && s.Matches(g.Tags) {
			return true
		}
		for _, in := range dp.Networking.Inbound {
			if s.Matches(in.Tags) {
				return true
			}
		}
	}
	return false
}
