package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/durable"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// How long one read may take.
const (
	getLimit  = 3 * time.Second
	listLimit = 30 * time.Second // of everything there is
)

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, k mesh.Key) (mesh.Resource, error) {
	kind, known := s.kinds[k.Kind]
	if !known {
		return mesh.Resource{}, fmt.Errorf("get %s: %w", k, store.ErrNotFound)
	}
	var w durable.Row
	err := s.asking(ctx, getLimit, func(ctx context.Context) error {
		err := s.pool.QueryRow(ctx, "SELECT "+durable.Columns+` FROM current c JOIN revisions r USING (revision)
			WHERE c.mesh = $1 AND c.name = $2 AND c.kind = $3`, k.Mesh, k.Name, k.Kind).Scan(w.Fields()...)
		if errors.Is(err, pgx.ErrNoRows) {
			err = store.ErrNotFound
		}
		return err
	})
	if err != nil {
		return mesh.Resource{}, fmt.Errorf("get %s: %w", k, err)
	}
	return w.Resource(kind)
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, q store.Query) (page store.Page, err error) {
	err = s.asking(ctx, listLimit, func(ctx context.Context) error {
		return s.ofOneMoment(ctx, func(tx pgx.Tx) error {
			page = store.Page{}
			return s.list(ctx, tx, q, &page)
		})
	})
	if err != nil {
		return store.Page{}, fmt.Errorf("list: %w", err)
	}
	return page, nil
}

// ofOneMoment reads in one snapshot of the database.
func (s *Store) ofOneMoment(ctx context.Context, read func(pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, read)
}

func (s *Store) list(ctx context.Context, tx pgx.Tx, q store.Query, page *store.Page) error {
	if err := tx.QueryRow(ctx, "SELECT revision FROM state").Scan(&page.At); err != nil {
		return err
	}
	from, args := s.where(q)
	if err := tx.QueryRow(ctx, "SELECT count(*)"+from, args...).Scan(&page.Total); err != nil {
		return err
	}
	var size any // NULL: all
	if q.Size > 0 {
		size = q.Size
	}
	args = append(args, size, max(q.Offset, 0))
	found, err := rows(tx.Query(ctx, fmt.Sprintf("SELECT "+durable.Columns+from+" ORDER BY c.mesh, c.name, c.kind LIMIT $%d OFFSET $%d", len(args)-1, len(args)), args...))
	if err != nil {
		return err
	}
	for _, w := range found {
		r, err := w.Resource(s.kinds[w.Kind])
		if err != nil {
			return err
		}
		page.Items = append(page.Items, r)
	}
	return nil
}

// where says in SQL which rows a query picks. Kinds that this version does
// not know are never picked: a newer one may have left them here.
func (s *Store) where(q store.Query) (string, []any) {
	kinds := slices.Sorted(maps.Keys(s.kinds))
	if q.Kind != nil {
		kinds = []string{q.Kind.Name}
	}
	args := []any{kinds}
	var b strings.Builder
	b.WriteString(" FROM current c JOIN revisions r USING (revision) WHERE c.kind = ANY($1)")
	and := func(condition string, arg any) {
		args = append(args, arg)
		fmt.Fprintf(&b, " AND "+condition, len(args))
	}
	if q.Mesh != "" {
		and("c.mesh = $%d", q.Mesh)
	}
	if q.Name != "" {
		and("strpos(c.name, $%d) > 0", q.Name)
	}
	if len(q.Labels) > 0 {
		and("r.labels @> $%d", q.Labels)
	}
	return b.String(), args
}

// rows reads what a SELECT of durable.Columns found.
func rows(found pgx.Rows, err error) (all []durable.Row, _ error) {
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
