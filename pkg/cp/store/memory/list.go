package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/cp/store"
)

// List implements store.Store.
func (s *Store) List(ctx context.Context, q store.Query) (store.Page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return store.Page{}, fmt.Errorf("list: %w", err)
	}
	var found []row
	for _, w := range s.current {
		if matches(q, w) {
			found = append(found, w)
		}
	}
	slices.SortFunc(found, func(a, b row) int {
		return cmp.Or(
			strings.Compare(a.meta.Mesh, b.meta.Mesh),
			strings.Compare(a.meta.Name, b.meta.Name),
			strings.Compare(a.kind.Name, b.kind.Name),
		)
	})
	page := store.Page{Total: len(found), At: s.revision}
	found = found[min(max(q.Offset, 0), len(found)):]
	if q.Size > 0 {
		found = found[:min(q.Size, len(found))]
	}
	for _, w := range found {
		r, err := w.resource()
		if err != nil {
			return store.Page{}, fmt.Errorf("list: %w", err)
		}
		page.Items = append(page.Items, r)
	}
	return page, nil
}

func matches(q store.Query, w row) bool {
	if q.Kind != nil && q.Kind.Name != w.kind.Name {
		return false
	}
	if q.Mesh != "" && q.Mesh != w.meta.Mesh {
		return false
	}
	if !strings.Contains(w.meta.Name, q.Name) {
		return false
	}
	for key, value := range q.Labels {
		if has, ok := w.meta.Labels[key]; !ok || has != value {
			return false
		}
	}
	return true
}
