package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/durable"
	"github.com/weft-mesh/weft/pkg/failpoint"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// A write is one Put or Delete. It is decided in one place, commit, with what
// the database holds under its lock.
type write struct {
	row   *durable.Row // with no Spec it deletes
	at    mesh.Version // that must be stored
	any   bool         // delete at whatever version
	epoch int64        // of the leader who writes; 0: nobody in particular
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, r mesh.Resource) (mesh.Resource, error) {
	stored, err := durable.NewRow(r)
	if err == nil {
		err = s.queue.Do(ctx, write{row: &stored, at: r.Meta.Version, epoch: store.Fence(ctx)})
	}
	if err != nil {
		return mesh.Resource{}, fmt.Errorf("put %s: %w", r.Key(), err)
	}
	return stored.Resource(r.Kind)
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, k mesh.Key, at mesh.Version) error {
	gone := durable.Deletion(k)
	if err := s.queue.Do(ctx, write{row: &gone, at: at, any: at == 0, epoch: store.Fence(ctx)}); err != nil {
		return fmt.Errorf("delete %s: %w", k, err)
	}
	return nil
}

// commit writes a batch in one transaction. Where what ails one of them fails
// all it writes them one by one.
func (s *Store) commit(ctx context.Context, batch []*durable.Write[write]) {
	err := s.measured(ctx, batch)
	said, about := errors.AsType[*pgconn.PgError](err)
	switch {
	case err != nil && len(batch) > 1 && about && (strings.HasPrefix(said.Code, "22") || strings.HasPrefix(said.Code, "54")):
		for _, w := range batch {
			w.Err = nil
			if err := s.measured(ctx, []*durable.Write[write]{w}); err != nil {
				w.Err = err
			}
		}
	case err != nil:
		for _, w := range batch {
			w.Err = err
		}
	}
	_ = failpoint.At(failpoint.StoreNotify)
	s.bell.Ring()
	_ = failpoint.At(failpoint.StoreAck)
}

// transact commits what the writes of a batch do, and leaves out those that
// are refused. Its error means that nothing was written or, where the answer
// to the commit itself was lost, that nobody knows.
func (s *Store) transact(ctx context.Context, batch []*durable.Write[write]) error {
	if err := failpoint.At(failpoint.StoreBegin); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	tx, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }() // a no-op once committed
	p, err := s.lock(ctx, tx, batch)
	if err != nil {
		return err
	}
	if !p.decide(batch, s) {
		return nil
	}
	if err := p.save(ctx, tx); err != nil {
		return err
	}
	if err := failpoint.At(failpoint.StoreCommit); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if err := failpoint.At(failpoint.StoreSync); err != nil {
		return fmt.Errorf("commit: %w: %w", store.ErrUnavailable, err)
	}
	return nil
}

// begin begins a transaction, on another connection where one was dead:
// nothing is lost that far.
func (s *Store) begin(ctx context.Context) (tx pgx.Tx, err error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	for range tries {
		if tx, err = s.pool.Begin(ctx); err == nil || ctx.Err() != nil {
			break
		}
	}
	return tx, err
}

// A page is what a batch reads and writes: everything about its keys, and the
// end of the feed.
type page struct {
	revision, forgotten, epoch int64
	was, now                   map[mesh.Key]durable.Row // current; Revision 0: there is none
	appended                   []*durable.Row
	replaced                   []int64 // revisions that are not current any more
	from                       int64   // forgotten before
}

// lock takes the row of state, which orders all writers of all replicas, and
// reads what is current. The second statement sees all that was committed
// before the lock was had.
func (s *Store) lock(ctx context.Context, tx pgx.Tx, batch []*durable.Write[write]) (*page, error) {
	p := &page{was: map[mesh.Key]durable.Row{}, now: map[mesh.Key]durable.Row{}}
	var meshes, names, kinds []string
	for _, w := range batch {
		meshes, names, kinds = append(meshes, w.What.row.Mesh), append(names, w.What.row.Name), append(kinds, w.What.row.Kind)
	}
	var b pgx.Batch
	b.Queue("SELECT revision, forgotten, epoch FROM state FOR UPDATE").QueryRow(func(r pgx.Row) error {
		return r.Scan(&p.revision, &p.forgotten, &p.epoch)
	})
	b.Queue(`SELECT c.mesh, c.name, c.kind, r.revision, r.created, r.modified FROM current c JOIN revisions r USING (revision)
		WHERE (c.mesh, c.name, c.kind) IN (SELECT * FROM unnest($1::text[], $2::text[], $3::text[]))`, meshes, names, kinds).Query(func(found pgx.Rows) error {
		for found.Next() {
			var w durable.Row
			if err := found.Scan(&w.Mesh, &w.Name, &w.Kind, &w.Revision, &w.Created, &w.Modified); err != nil {
				return err
			}
			p.was[w.Key()] = w
		}
		return found.Err()
	})
	return p, tx.SendBatch(ctx, &b).Close()
}

// decide lets each write in or refuses it, one after the other. It tells
// whether there is anything to save.
func (p *page) decide(batch []*durable.Write[write], s *Store) bool {
	p.from = p.forgotten
	for _, b := range batch {
		w := b.What
		key := w.row.Key()
		old, seen := p.now[key]
		if !seen {
			old = p.was[key]
		}
		switch {
		case w.epoch != 0 && w.epoch != p.epoch:
			b.Err = fmt.Errorf("in epoch %d, now is %d: %w", w.epoch, p.epoch, store.ErrFenced)
		case w.row.Spec == nil && old.Revision == 0:
			b.Err = store.ErrNotFound
		case !w.any && old.Revision != int64(w.at):
			b.Err = fmt.Errorf("at version %d: %w", w.at, store.ErrConflict)
		default:
			b.Err = nil
			p.revision++
			w.row.Revision = p.revision
			if w.row.Spec != nil {
				w.row.Stamp(s.now(), old)
			}
			if old.Revision != 0 {
				p.replaced = append(p.replaced, old.Revision)
			}
			p.appended = append(p.appended, w.row)
			p.now[key] = *w.row
			if w.row.Spec == nil {
				p.now[key] = durable.Row{}
			}
		}
	}
	p.forgotten = max(p.forgotten, p.revision-int64(s.feed))
	return len(p.appended) > 0
}

// save writes the page, and wakes everybody when it is committed.
func (p *page) save(ctx context.Context, tx pgx.Tx) error {
	var add, set columns
	var gone columns
	for _, w := range p.appended {
		add.append(*w)
	}
	for key, w := range p.now {
		if w.Revision != 0 {
			set.append(w)
		} else if p.was[key].Revision != 0 {
			gone.append(durable.Deletion(key))
		}
	}
	var b pgx.Batch
	b.Queue(`INSERT INTO revisions (revision, kind, mesh, name, created, modified, labels, spec)
		SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::jsonb[], $8::text[])`,
		add.revision, add.kind, add.mesh, add.name, add.created, add.modified, add.labels, add.spec)
	if len(set.revision) > 0 {
		b.Queue(`INSERT INTO current (mesh, name, kind, revision) SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[])
			ON CONFLICT (mesh, name, kind) DO UPDATE SET revision = EXCLUDED.revision`, set.mesh, set.name, set.kind, set.revision)
	}
	if len(gone.revision) > 0 {
		b.Queue("DELETE FROM current WHERE (mesh, name, kind) IN (SELECT * FROM unnest($1::text[], $2::text[], $3::text[]))", gone.mesh, gone.name, gone.kind)
	}
	if p.forgotten > p.from {
		b.Queue(`DELETE FROM revisions r WHERE r.revision > $1 AND r.revision <= $2
			AND NOT EXISTS (SELECT 1 FROM current c WHERE c.revision = r.revision)`, p.from, p.forgotten)
	}
	if len(p.replaced) > 0 { // they may have left the feed long ago
		b.Queue("DELETE FROM revisions WHERE revision = ANY($1) AND revision <= $2", p.replaced, p.forgotten)
	}
	b.Queue("UPDATE state SET revision = $1, forgotten = $2", p.revision, p.forgotten)
	b.Queue("SELECT pg_notify('" + channel + "', '')")
	return tx.SendBatch(ctx, &b).Close()
}

// columns are rows as PostgreSQL takes many at once.
type columns struct {
	revision          []int64
	kind, mesh, name  []string
	created, modified []*int64
	labels, spec      []*string
}

func (c *columns) append(w durable.Row) {
	c.revision = append(c.revision, w.Revision)
	c.kind, c.mesh, c.name = append(c.kind, w.Kind), append(c.mesh, w.Mesh), append(c.name, w.Name)
	if w.Spec == nil {
		c.created, c.modified = append(c.created, nil), append(c.modified, nil)
		c.labels, c.spec = append(c.labels, nil), append(c.spec, nil)
		return
	}
	labels, spec := string(w.Labels), string(w.Spec)
	c.created, c.modified = append(c.created, &w.Created), append(c.modified, &w.Modified)
	c.labels, c.spec = append(c.labels, &labels), append(c.spec, &spec)
}
