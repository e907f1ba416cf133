package cp

import (
	"errors"
	"slices"
	"testing"

	"github.com/weft-mesh/weft/pkg/cp/ca"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/memory"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// TestKeptIsNotShown: whoever may read all GlobalSecrets sees nothing of what
// control planes keep for themselves, in no page of any list.
func TestKeptIsNotShown(t *testing.T) {
	s := memory.New()
	names := []string{"a", adminTokenKey.Name, ca.OwnKey.Name, "d", "z"}
	for _, name := range names {
		_, err := s.Put(t.Context(), mesh.Resource{Kind: mesh.GlobalSecretKind, Meta: mesh.Meta{Name: name}, Spec: &mesh.Secret{Data: []byte("x")}})
		if err != nil {
			t.Fatal(err)
		}
	}
	people := shown{s}
	for _, name := range names {
		k := mesh.Key{Kind: mesh.GlobalSecretKind.Name, Name: name}
		if _, err := people.Get(t.Context(), k); errors.Is(err, store.ErrNotFound) != slices.Contains(kept, k) {
			t.Errorf("%s: %v", k, err)
		}
	}
	for _, page := range []struct {
		offset, size int
		want         []string
	}{{0, 0, []string{"a", "d", "z"}}, {0, 2, []string{"a", "d"}}, {2, 2, []string{"z"}}, {3, 2, nil}, {9, 0, nil}} {
		got, err := people.List(t.Context(), store.Query{Kind: mesh.GlobalSecretKind, Offset: page.offset, Size: page.size})
		var has []string
		for _, r := range got.Items {
			has = append(has, r.Meta.Name)
		}
		if err != nil || got.Total != 3 || !slices.Equal(has, page.want) {
			t.Errorf("from %d, %d at most: %q of %d, %v, want %q", page.offset, page.size, has, got.Total, err, page.want)
		}
	}
}
