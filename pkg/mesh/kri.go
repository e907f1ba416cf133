package mesh

import (
	"fmt"
	"slices"
	"strings"
)

// KRI returns the resource's identifier across zones and meshes,
// kri_<short>_<mesh>_<zone>_<namespace>_<name>_<section>; "" where its kind
// has none. zone is "" for what is not bound to one.
func (r Resource) KRI(zone string) string {
	if r.Kind.Short == "" {
		return ""
	}
	return strings.Join([]string{"kri", r.Kind.Short, r.Meta.Mesh, zone, "", r.Meta.Name, ""}, "_")
}

// ParseKRI returns what an identifier names. Its zone and its section are not
// in a Key; names have no "_" in them, so that the parts are told apart.
func ParseKRI(text string) (Key, error) {
	parts := strings.Split(text, "_")
	if len(parts) != 7 || parts[0] != "kri" {
		return Key{}, fmt.Errorf("%.200q is no identifier: kri_<short>_<mesh>_<zone>_<namespace>_<name>_<section>", text)
	}
	i := slices.IndexFunc(Kinds, func(k *Kind) bool { return k.Short == parts[1] && k.Short != "" })
	if i < 0 {
		return Key{}, fmt.Errorf("%.200q is of no kind: there is no %.32q", text, parts[1])
	}
	k := Kinds[i]
	if (k.Scope == InMesh) != (parts[2] != "") || parts[5] == "" {
		return Key{}, fmt.Errorf("%.200q is no identifier of a %s", text, k.Name)
	}
	return Key{Kind: k.Name, Mesh: parts[2], Name: parts[5]}, nil
}
