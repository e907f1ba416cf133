package admission

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// complete returns a copy of r as it is to be stored: with the tags and labels
// that the control plane adds, those of Kuma.
func (a *Admission) complete(ctx context.Context, r mesh.Resource) (wanted mesh.Resource, warnings []string, err error) {
	var in *mesh.MeshSpec
	if r.Kind.Scope == mesh.InMesh {
		if in, err = a.mesh(ctx, r.Meta.Mesh); err != nil {
			return wanted, nil, err
		}
	}
	wanted = r
	if wanted.Spec, err = copySpec(r); err != nil {
		return wanted, nil, err
	}
	if dp, ok := wanted.Spec.(*mesh.Dataplane); ok {
		warnings = addZone(dp, a.zone())
		if err := in.Constraints.Admits(dp).Err(); err != nil {
			return wanted, nil, err
		}
	}
	if e, ok := wanted.Spec.(*mesh.ExternalService); ok {
		warnings = outside(e)
	}
	if _, ok := wanted.Spec.(*mesh.ProxyTemplate); ok && a.Native != nil {
		if err := a.Native(wanted).Err(); err != nil {
			return wanted, nil, err
		}
	}
	warnings = append(warnings, about(r)...)
	wanted.Meta.Labels, warnings = a.label(wanted, warnings)
	return wanted, warnings, nil
}

// addZone sets the zone tag on everything that has tags. What has none gets
// none: with this tag alone it would be a service without a name.
func addZone(dp *mesh.Dataplane, zone string) (warnings []string) {
	add := func(path string, t mesh.Tags) {
		if len(t) == 0 {
			return
		}
		if was, given := t[mesh.ZoneTag]; given && was != zone {
			warnings = append(warnings, fmt.Sprintf("%s[%q] is set by the control plane: %q was replaced by %q", path, mesh.ZoneTag, was, zone))
		}
		t[mesh.ZoneTag] = zone
	}
	for i := range dp.Networking.Inbound {
		add(fmt.Sprintf("networking.inbound[%d].tags", i), dp.Networking.Inbound[i].Tags)
	}
	if g := dp.Networking.Gateway; g != nil {
		add("networking.gateway.tags", g.Tags)
	}
	return warnings
}

// keepStates has inbounds that are probed go on as the host's agent found them,
// where the author of wanted says nothing of their state: the agent tells
// changes, and there is none.
func keepStates(wanted, stored mesh.Resource) {
	to, ok := wanted.Spec.(*mesh.Dataplane)
	from, was := stored.Spec.(*mesh.Dataplane)
	if !ok || !was {
		return
	}
	for i := range to.Networking.Inbound {
		in := &to.Networking.Inbound[i]
		for _, before := range from.Networking.Inbound {
			if in.State == "" && in.Health == nil && in.ServiceProbe != nil && before.ServiceProbe != nil && before.Port == in.Port {
				in.State = before.State
			}
		}
	}
}

func copySpec(r mesh.Resource) (mesh.Spec, error) {
	data, err := json.Marshal(r.Spec)
	if err != nil {
		return nil, err
	}
	s := r.Kind.New()
	return s, json.Unmarshal(data, s)
}

// equal tells whether two resources of one key say the same.
func equal(a, b mesh.Resource) (bool, error) {
	if !maps.Equal(a.Meta.Labels, b.Meta.Labels) {
		return false, nil
	}
	one, err := json.Marshal(a.Spec)
	if err != nil {
		return false, err
	}
	other, err := json.Marshal(b.Spec)
	return bytes.Equal(one, other), err
}
