package mesh

import "strings"

// Labels that the control plane computes.
const (
	ZoneLabel   = "kuma.io/zone"
	OriginLabel = "kuma.io/origin"
)

// WorkloadLabel is how people name what runs behind a Dataplane.
const WorkloadLabel = "kuma.io/workload"

// KRI returns the resource's identifier across zones and meshes,
// kri_<short>_<mesh>_<zone>_<namespace>_<name>_<section>; "" where its kind
// has none. zone is "" for what is not bound to one.
func (r Resource) KRI(zone string) string {
	if r.Kind.Short == "" {
		return ""
	}
	return strings.Join([]string{"kri", r.Kind.Short, r.Meta.Mesh, zone, "", r.Meta.Name, ""}, "_")
}
