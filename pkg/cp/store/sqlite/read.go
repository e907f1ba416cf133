package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/durable"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, k mesh.Key) (mesh.Resource, error) {
	kind, known := s.kinds[k.Kind]
	if !known {
		return mesh.Resource{}, fmt.Errorf("get %s: %w", k, store.ErrNotFound)
	}
	if s.queue.Closed() {
		return mesh.Resource{}, fmt.Errorf("get %s: %w", k, durable.ErrClosed)
	}
	var w durable.Row
	err := s.parsed.get.QueryRowContext(ctx, k.Mesh, k.Name, k.Kind).Scan(w.Fields()...)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return mesh.Resource{}, fmt.Errorf("get %s: %w", k, store.ErrNotFound)
	case err != nil:
		return mesh.Resource{}, fmt.Errorf("get %s: %w", k, err)
	}
	return w.Resource(kind)
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, q store.Query) (store.Page, error) {
	page, err := s.list(ctx, q)
	if err != nil {
		return store.Page{}, fmt.Errorf("list: %w", err)
	}
	return page, nil
}

func (s *Store) list(ctx context.Context, q store.Query) (page store.Page, err error) {
	if s.queue.Closed() {
		return page, durable.ErrClosed
	}
	// One transaction, so that items, total and version are of one moment.
	t, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return page, err
	}
	defer func() { _ = t.Rollback() }() // nothing was written
	if err := t.QueryRowContext(ctx, "SELECT revision FROM state").Scan(&page.At); err != nil {
		return page, err
	}
	from, args := s.where(q)
	if err := t.QueryRowContext(ctx, "SELECT count(*)"+from, args...).Scan(&page.Total); err != nil {
		return page, err
	}
	size := -1 // all
	if q.Size > 0 {
		size = q.Size
	}
	found, err := rows(t.QueryContext(ctx, "SELECT "+durable.Columns+from+" ORDER BY c.mesh, c.name, c.kind LIMIT ? OFFSET ?",
		append(args, size, max(q.Offset, 0))...))
	if err != nil {
		return page, err
	}
	for _, w := range found {
		r, err := w.Resource(s.kinds[w.Kind])
		if err != nil {
			return page, err
		}
		page.Items = append(page.Items, r)
	}
	return page, nil
}

// where says in SQL which rows a query picks. Kinds that this version does
// not know are never picked: a newer one may have left them here.
func (s *Store) where(q store.Query) (string, []any) {
	kinds := slices.Sorted(maps.Keys(s.kinds))
	if q.Kind != nil {
		kinds = []string{q.Kind.Name}
	}
	var args []any
	for _, k := range kinds {
		args = append(args, k)
	}
	var b strings.Builder
	b.WriteString(" FROM current c JOIN revisions r USING (revision) WHERE c.kind IN (?" + strings.Repeat(", ?", len(kinds)-1) + ")")
	if q.Mesh != "" {
		b.WriteString(" AND c.mesh = ?")
		args = append(args, q.Mesh)
	}
	if q.Name != "" {
		b.WriteString(" AND instr(c.name, ?) > 0")
		args = append(args, q.Name)
	}
	for _, key := range slices.Sorted(maps.Keys(q.Labels)) {
		b.WriteString(" AND EXISTS (SELECT 1 FROM json_each(r.labels) l WHERE l.key = ? AND l.value = ?)")
		args = append(args, key, q.Labels[key])
	}
	return b.String(), args
}

// rows reads what a SELECT of durable.Columns found.
func rows(found *sql.Rows, err error) (all []durable.Row, _ error) {
	if err != nil {
		return nil, err
	}
	defer found.Close()
	for found.Next() {
		var w durable.Row
		if err := found.Scan(w.Fields()...); err != nil {
			return nil, err
		}
		all = append(all, w)
	}
	return all, found.Err()
}
