package admission

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// Bounds of the look for permissions that another one takes the effect of: it
// is advice, and a mesh may have very many.
const (
	maxCompared = 1000
	maxShadowed = 3 // told of one permission
)

// shadowed warns where a permission has no effect for another one, or takes it
// from another. Of those that fit a workload alike the newest decides alone, so
// that who lets more callers in by one more permission shuts out those of before.
// was is what was stored; of no kind where nothing was.
func (a *Admission) shadowed(r, was mesh.Resource, unchanged bool) (warnings []string) {
	p, ok := r.Spec.(*mesh.TrafficPermission)
	if !ok || a.Permissions == nil || unchanged {
		return nil
	}
	all := a.Permissions(r.Meta.Mesh)
	for _, other := range all[:min(len(all), maxCompared)] {
		o, ok := other.Spec.(*mesh.TrafficPermission)
		if !ok || other.Meta.Name == r.Meta.Name {
			continue
		}
		i := slices.IndexFunc(p.Destinations, func(d mesh.Selector) bool { return has(o.Destinations, d) })
		if i < 0 {
			continue
		}
		at := fmt.Sprintf("destinations[%d]: of permissions that fit %s alike the newest decides alone", i, p.Destinations[i].Match)
		switch mine, theirs := lacking(p.Sources, o.Sources), lacking(o.Sources, p.Sources); {
		case was.Kind != nil && newer(*other, was):
			if len(theirs) > 0 {
				warnings = append(warnings, fmt.Sprintf("%s, which is %q: %s is let in only if its sources name it", at, other.Meta.Name, some(theirs)))
			}
		case len(mine) > 0:
			warnings = append(warnings, fmt.Sprintf("%s, which is this one: %q has no effect there any more, and %s is shut out unless sources name it here", at, other.Meta.Name, some(mine)))
		}
		if len(warnings) == maxShadowed {
			break
		}
	}
	return warnings
}

// newer tells which of two policies wins where both fit alike.
func newer(a, b mesh.Resource) bool {
	return cmp.Or(b.Meta.Created.Compare(a.Meta.Created), cmp.Compare(a.Meta.Name, b.Meta.Name)) < 0
}

func has(all []mesh.Selector, s mesh.Selector) bool {
	return slices.ContainsFunc(all, func(other mesh.Selector) bool { return maps.Equal(other.Match, s.Match) })
}

// lacking are those of want that have lacks, unless it names everybody.
func lacking(have, want []mesh.Selector) []mesh.Selector {
	if has(have, mesh.Selector{Match: mesh.Tags{mesh.ServiceTag: mesh.Any}}) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(want), func(s mesh.Selector) bool { return has(have, s) })
}

func some(all []mesh.Selector) string {
	var words []string
	for _, s := range all[:min(len(all), maxShadowed)] {
		words = append(words, s.Match.String())
	}
	if more := len(all) - maxShadowed; more > 0 {
		words = append(words, fmt.Sprintf("%d more", more))
	}
	return strings.Join(words, ", ")
}
