package store

import (
	"context"
	"slices"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// A Lister is what Pick needs of a Store.
type Lister interface {
	List(ctx context.Context, q Query) (Page, error)
}

// Pick lists what q asks for and is wanted, which the store cannot look for: it
// reads all that q finds, and pages are of what was picked.
func Pick(ctx context.Context, s Lister, q Query, wanted func(mesh.Resource) bool) (Page, error) {
	offset, size := q.Offset, q.Size
	q.Offset, q.Size = 0, 0
	page, err := s.List(ctx, q)
	if err != nil {
		return page, err
	}
	page.Items = slices.DeleteFunc(page.Items, func(r mesh.Resource) bool { return !wanted(r) })
	page.Total = len(page.Items)
	end := page.Total
	if size > 0 {
		end = min(offset+size, end)
	}
	page.Items = page.Items[min(offset, end):end]
	return page, nil
}
