package memory

import (
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/storetest"
	"github.com/weft-mesh/weft/pkg/mesh"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, _ string) store.Store {
		s := New()
		s.feed = 300
		t.Cleanup(func() { _ = s.Close() })
		return s
	}, storetest.Volatile, storetest.Feed(300))
}

func TestHistory(t *testing.T) {
	storetest.HistoryInside(t, func(*testing.T, string) store.Store { return New() })
}

func TestClockSetBack(t *testing.T) {
	s := New()
	r := mesh.Resource{Kind: mesh.SecretKind, Meta: mesh.Meta{Mesh: "m", Name: "s"}, Spec: &mesh.Secret{}}
	first, err := s.Put(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	s.now = func() time.Time { return first.Meta.Modified.Add(-time.Hour) }
	second, err := s.Put(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	if second.Meta.Modified.Before(first.Meta.Modified) {
		t.Errorf("modified went back from %s to %s", first.Meta.Modified, second.Meta.Modified)
	}
}
