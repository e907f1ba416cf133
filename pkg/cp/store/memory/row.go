package memory

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"github.com/weft-mesh/weft/pkg/mesh"
)

var errClosed = errors.New("the store is closed")

// A row is a resource whose spec nobody outside can reach: what callers hand
// in and get back are copies.
type row struct {
	kind *mesh.Kind
	meta mesh.Meta
	spec []byte // JSON
}

func newRow(r mesh.Resource) (row, error) {
	if r.Kind == nil || r.Spec == nil || r.Meta.Name == "" {
		return row{}, errors.New("put: a resource needs a kind, a name and a spec")
	}
	spec, err := json.Marshal(r.Spec)
	if err != nil {
		return row{}, fmt.Errorf("put %s: %w", r.Key(), err)
	}
	meta := r.Meta
	meta.Labels = copyLabels(r.Meta.Labels)
	return row{kind: r.Kind, meta: meta, spec: spec}, nil
}

func (w row) resource() (mesh.Resource, error) {
	r := mesh.Resource{Kind: w.kind, Meta: w.meta, Spec: w.kind.New()}
	r.Meta.Labels = copyLabels(w.meta.Labels)
	if err := json.Unmarshal(w.spec, r.Spec); err != nil {
		return mesh.Resource{}, fmt.Errorf("read %s: %w", r.Key(), err)
	}
	return r, nil
}

func copyLabels(labels map[string]string) map[string]string {
	if len(labels) == 0 {
		return nil
	}
	return maps.Clone(labels)
}
