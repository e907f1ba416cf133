package rest

import (
	"cmp"
	"context"
	"encoding/json"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// asManifest writes a resource as Kuma's users on Kubernetes have it, for those
// who move there: what belongs to a mesh says so beside its spec where the spec
// is old, and by a label where it is new.
func asManifest(namespace string) writing {
	return func(_ context.Context, r mesh.Resource) ([]byte, error) {
		spec, err := json.Marshal(r.Spec)
		if err != nil {
			return nil, err
		}
		type metadata struct {
			Name      string            `json:"name"`
			Namespace string            `json:"namespace,omitempty"`
			Labels    map[string]string `json:"labels,omitempty"`
		}
		doc := struct {
			APIVersion string          `json:"apiVersion"`
			Kind       string          `json:"kind"`
			Mesh       string          `json:"mesh,omitempty"`
			Metadata   metadata        `json:"metadata"`
			Spec       json.RawMessage `json:"spec,omitempty"`
		}{"kuma.io/v1alpha1", r.Kind.Name, r.Meta.Mesh, metadata{Name: r.Meta.Name, Labels: r.Meta.Labels}, spec}
		if r.Kind.Scope == mesh.InMesh {
			doc.Metadata.Namespace = cmp.Or(namespace, "kuma-system")
		}
		if r.Kind.Nested() {
			doc.Mesh = ""
			var inner struct {
				Spec json.RawMessage `json:"spec"`
			}
			if err := json.Unmarshal(spec, &inner); err != nil {
				return nil, err
			}
			doc.Spec = inner.Spec
		}
		return json.Marshal(doc)
	}
}
