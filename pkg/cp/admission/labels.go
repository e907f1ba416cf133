package admission

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// DefaultZone is the zone of a control plane that was given no other.
const DefaultZone = "default"

func (a *Admission) zone() string { return cmp.Or(a.Zone, DefaultZone) }

// label returns the labels of r with those that the control plane sets, and
// adds to warnings which of its author's it replaced.
func (a *Admission) label(r mesh.Resource, warnings []string) (map[string]string, []string) {
	all := maps.Clone(r.Meta.Labels)
	if all == nil {
		all = map[string]string{}
	}
	computed := labels(r, a.zone())
	for _, key := range slices.Sorted(maps.Keys(computed)) {
		if was, given := all[key]; given && was != computed[key] {
			warnings = append(warnings, fmt.Sprintf("label %s is set by the control plane: %q was replaced by %q", key, was, computed[key]))
		}
		all[key] = computed[key]
	}
	return all, warnings
}

// labels are those that the control plane sets: of what is in a mesh, the mesh;
// of what a zone may write, where it is from.
func labels(r mesh.Resource, zone string) map[string]string {
	set := map[string]string{}
	k := r.Kind
	if k.Scope == mesh.InMesh {
		set[mesh.MeshLabel] = r.Meta.Mesh
	}
	if k.Flow&mesh.FromZone != 0 {
		set[mesh.EnvLabel] = "universal"
		set[mesh.OriginLabel] = "zone"
		set[mesh.ZoneLabel] = zone
	}
	if slices.Contains(named, k) {
		set[mesh.DisplayNameLabel] = r.Meta.Name
	}
	if dp, ok := r.Spec.(*mesh.Dataplane); ok {
		set[mesh.ProxyTypeLabel] = "sidecar"
		if dp.Networking.Gateway != nil {
			set[mesh.ProxyTypeLabel] = "gateway"
		}
		for _, l := range dp.Networking.Listeners {
			switch l.Type {
			case "ZoneIngress":
				set[mesh.ListenerIngressLabel] = "enabled"
			case "ZoneEgress":
				set[mesh.ListenerEgressLabel] = "enabled"
			}
		}
	}
	return set
}

// named are the kinds that others select by the name that people see.
var named = []*mesh.Kind{mesh.MeshServiceKind, mesh.MeshExternalServiceKind, mesh.MeshMultiZoneServiceKind}
