//go:build linux

package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// pageSize is the most that a page of a list has.
const pageSize = 1000

// bulk registers dataplanes in a mesh of their own, so that nobody is told of
// them, and reads the whole list page by page. Each registration is answered
// when it is on disk.
func bulk(ctx context.Context, f *fleet, t *table) error {
	if f.c.bulk == 0 {
		return nil
	}
	if err := f.cp.call(ctx, http.MethodPut, "/meshes/bulk", map[string]any{"type": "Mesh", "name": "bulk"}, nil); err != nil {
		return err
	}
	var took time.Duration
	cpu, _, err := f.cp.spent(func() error {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(f.c.workers)
		began := time.Now()
		for n := range f.c.bulk {
			g.Go(func() error {
				doc := f.c.dataplane(n, n%f.c.Services, nil)
				doc["mesh"] = "bulk"
				return f.cp.call(ctx, http.MethodPut, fmt.Sprintf("/meshes/bulk/dataplanes/%s", doc["name"]), doc, nil)
			})
		}
		err := g.Wait()
		took = time.Since(began)
		return err
	})
	if err != nil {
		return fmt.Errorf("bulk: %w", err)
	}
	t.row(fmt.Sprintf("%d registered, %d writers", f.c.bulk, f.c.workers), "%.0f a second, CPU %s each", float64(f.c.bulk)/took.Seconds(), round(cpu/time.Duration(f.c.bulk)))

	var longest, all time.Duration
	pages := 0
	for offset := 0; offset < f.c.bulk; offset += pageSize {
		began := time.Now()
		if err := f.cp.call(ctx, http.MethodGet, fmt.Sprintf("/meshes/bulk/dataplanes?size=%d&offset=%d", pageSize, offset), nil, nil); err != nil {
			return fmt.Errorf("bulk: %w", err)
		}
		d := time.Since(began)
		longest, all, pages = max(longest, d), all+d, pages+1
	}
	t.row(fmt.Sprintf("their list, pages of %d", pageSize), "mean %s, max %s", round(all/time.Duration(pages)), round(longest))
	return nil
}
