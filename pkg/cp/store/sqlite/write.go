package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/durable"
	"github.com/weft-mesh/weft/pkg/failpoint"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, r mesh.Resource) (mesh.Resource, error) {
	stored, err := durable.NewRow(r)
	if err != nil {
		return mesh.Resource{}, fmt.Errorf("put %s: %w", r.Key(), err)
	}
	err = s.queue.Do(ctx, func(ctx context.Context, t *tx) error {
		old, err := t.find(ctx, stored.Key())
		if err != nil {
			return err
		}
		if old.Revision != int64(r.Meta.Version) {
			return fmt.Errorf("at version %d: %w", r.Meta.Version, store.ErrConflict)
		}
		stored.Stamp(s.now(), old)
		return t.append(ctx, &stored, old.Revision)
	})
	if err != nil {
		return mesh.Resource{}, fmt.Errorf("put %s: %w", r.Key(), err)
	}
	return stored.Resource(r.Kind)
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, k mesh.Key, at mesh.Version) error {
	gone := durable.Deletion(k)
	err := s.queue.Do(ctx, func(ctx context.Context, t *tx) error {
		old, err := t.find(ctx, k)
		switch {
		case err != nil:
			return err
		case old.Revision == 0:
			return store.ErrNotFound
		case at != 0 && old.Revision != int64(at):
			return fmt.Errorf("at version %d: %w", at, store.ErrConflict)
		}
		return t.append(ctx, &gone, old.Revision)
	})
	if err != nil {
		return fmt.Errorf("delete %s: %w", k, err)
	}
	return nil
}

// A change is what one Put or Delete does in a transaction.
type change func(context.Context, *tx) error

// commit writes a batch in one transaction. Where that fails as a whole it
// writes them one by one, so that what ails one is not suffered by all.
func (s *Store) commit(ctx context.Context, batch []*durable.Write[change]) {
	err := s.transact(ctx, batch)
	if err != nil && len(batch) > 1 && !s.failed.is() {
		for _, w := range batch {
			w.Err = nil
			if err := s.transact(ctx, []*durable.Write[change]{w}); err != nil {
				w.Err = err
			}
		}
	} else if err != nil {
		for _, w := range batch {
			w.Err = err
		}
	}
	_ = failpoint.At(failpoint.StoreNotify)
	s.bell.Ring()
	_ = failpoint.At(failpoint.StoreAck)
}

// transact commits what the writes of a batch do, and leaves out those that
// refuse, which they do before they write anything. Its error means that
// nothing at all was written, or that nobody can tell: see failure.
func (s *Store) transact(ctx context.Context, batch []*durable.Write[change]) (err error) {
	if err := s.failed.err(); err != nil {
		return err
	}
	defer func() { err = s.failed.judge(err) }()
	if err := failpoint.At(failpoint.StoreBegin); err != nil {
		return err
	}
	sqlTx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	t := &tx{Tx: sqlTx, parsed: &s.parsed, feed: int64(s.feed)}
	defer t.rollback()
	if err := scan(ctx, t.Tx, t.parsed.standing, nil, []any{&t.revision, &t.forgotten}); err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	for _, w := range batch {
		w.Err = w.What(ctx, t)
		if w.Err != nil && !errors.Is(w.Err, store.ErrConflict) && !errors.Is(w.Err, store.ErrNotFound) {
			return w.Err
		}
	}
	if err := t.saveState(ctx); err != nil {
		return err
	}
	if err := failpoint.At(failpoint.StoreCommit); err != nil {
		return err
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if err := failpoint.At(failpoint.StoreSync); err != nil {
		return fmt.Errorf("commit: %w: %w", errDisk, err)
	}
	return nil
}

// A tx is a transaction that knows where the feed stands.
type tx struct {
	*sql.Tx
	parsed    *statements
	feed      int64
	revision  int64
	forgotten int64
}

func (t *tx) exec(ctx context.Context, what *sql.Stmt, args ...any) error {
	bound := t.StmtContext(ctx, what)
	defer func() { _ = bound.Close() }() // its end is the transaction's
	_, err := bound.ExecContext(ctx, args...)
	return err
}

// rollback does nothing once the transaction is committed.
func (t *tx) rollback() { _ = t.Rollback() }

// find returns when the resource was written; a Row of revision 0 when there
// is none.
func (t *tx) find(ctx context.Context, k mesh.Key) (durable.Row, error) {
	var found durable.Row
	err := scan(ctx, t.Tx, t.parsed.find, []any{k.Mesh, k.Name, k.Kind}, []any{&found.Revision, &found.Created, &found.Modified})
	if errors.Is(err, sql.ErrNoRows) {
		return durable.Row{}, nil
	}
	return found, err
}

// append writes what takes the place of revision old; 0 is none.
func (t *tx) append(ctx context.Context, w *durable.Row, old int64) error {
	t.revision++
	w.Revision = t.revision
	var err error
	if w.Spec == nil {
		err = t.exec(ctx, t.parsed.addGone, w.Revision, w.Kind, w.Mesh, w.Name)
	} else {
		err = t.exec(ctx, t.parsed.add, w.Revision, w.Kind, w.Mesh, w.Name, w.Created, w.Modified, string(w.Labels), string(w.Spec))
	}
	if err != nil {
		return fmt.Errorf("append to the feed: %w", err)
	}
	switch {
	case w.Spec == nil:
		err = t.exec(ctx, t.parsed.cease, old)
	case old == 0:
		err = t.exec(ctx, t.parsed.become, w.Mesh, w.Name, w.Kind, w.Revision)
	default:
		err = t.exec(ctx, t.parsed.replace, w.Revision, old)
	}
	if err != nil {
		return fmt.Errorf("make revision %d current: %w", w.Revision, err)
	}
	return t.forget(ctx, old)
}

// forget drops what left the feed and is not current. old, which has just
// ceased to be current, may have left the feed long ago.
func (t *tx) forget(ctx context.Context, old int64) error {
	from := t.forgotten
	t.forgotten = max(t.forgotten, t.revision-t.feed)
	var err error
	if from < t.forgotten {
		err = t.exec(ctx, t.parsed.forget, from, t.forgotten)
	}
	if err == nil && old > 0 && old <= t.forgotten {
		err = t.exec(ctx, t.parsed.drop, old)
	}
	if err != nil {
		return fmt.Errorf("forget what left the feed: %w", err)
	}
	return nil
}

func (t *tx) saveState(ctx context.Context) error {
	if err := t.exec(ctx, t.parsed.save, t.revision, t.forgotten); err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	return nil
}
