package admission

import (
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// about tells the author of any resource what he would otherwise find out
// late.
func about(r mesh.Resource) (warnings []string) {
	if w := r.Kind.Note(); w != "" {
		warnings = append(warnings, w)
	}
	if slices.Contains(labelled, r.Kind) && !mesh.IsDNSLabel(r.Meta.Name) {
		warnings = append(warnings, fmt.Sprintf(
			`the name %q cannot be part of a host name: newer control planes want letters, digits and "-" alone, a letter first, and at most %d of them`,
			r.Meta.Name, mesh.MaxLabel))
	}
	return warnings
}

// labelled are the kinds whose names become a label of host names.
var labelled = append([]*mesh.Kind{mesh.MeshKind, mesh.ZoneKind}, named...)
