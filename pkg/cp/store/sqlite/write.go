package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, r mesh.Resource) (mesh.Resource, error) {
	if r.Kind == nil || r.Spec == nil || r.Meta.Name == "" {
		return mesh.Resource{}, errors.New("put: a resource needs a kind, a name and a spec")
	}
	k := r.Key()
	spec, err := json.Marshal(r.Spec)
	if err != nil {
		return mesh.Resource{}, fmt.Errorf("put %s: %w", k, err)
	}
	labels, err := json.Marshal(r.Meta.Labels)
	if err != nil {
		return mesh.Resource{}, fmt.Errorf("put %s: %w", k, err)
	}
	stored := row{kind: k.Kind, mesh: k.Mesh, name: k.Name, labels: labels, spec: spec}
	err = s.do(ctx, func(ctx context.Context, t *tx) error {
		old, err := t.find(ctx, k)
		if err != nil {
			return err
		}
		if old.revision != int64(r.Meta.Version) {
			return fmt.Errorf("at version %d: %w", r.Meta.Version, store.ErrConflict)
		}
		now := s.now().UnixNano()
		stored.created, stored.modified = now, now
		if old.revision != 0 {
			stored.created = old.created
			stored.modified = max(now, old.modified) // the clock may have been set back
		}
		return t.append(ctx, &stored, old.revision)
	})
	if err != nil {
		return mesh.Resource{}, fmt.Errorf("put %s: %w", k, err)
	}
	return stored.resource(r.Kind)
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, k mesh.Key, at mesh.Version) error {
	err := s.do(ctx, func(ctx context.Context, t *tx) error {
		old, err := t.find(ctx, k)
		switch {
		case err != nil:
			return err
		case old.revision == 0:
			return store.ErrNotFound
		case at != 0 && old.revision != int64(at):
			return fmt.Errorf("at version %d: %w", at, store.ErrConflict)
		}
		return t.append(ctx, &row{kind: k.Kind, mesh: k.Mesh, name: k.Name}, old.revision)
	})
	if err != nil {
		return fmt.Errorf("delete %s: %w", k, err)
	}
	return nil
}

// commit writes a batch in one transaction. Where that fails as a whole it
// writes them one by one, so that what ails one is not suffered by all.
func (s *Store) commit(ctx context.Context, batch []*write) {
	if len(batch) == 0 {
		return
	}
	err := s.transact(ctx, batch)
	if err != nil && len(batch) > 1 {
		for _, w := range batch {
			w.err = nil
			if err := s.transact(ctx, []*write{w}); err != nil {
				w.err = err
			}
		}
	} else if err != nil {
		batch[0].err = err
	}
	s.bell.ring()
	for _, w := range batch {
		close(w.done)
	}
}

// transact commits what the writes of a batch do, and leaves out those that
// refuse, which they do before they write anything. Its error means that
// nothing at all was written.
func (s *Store) transact(ctx context.Context, batch []*write) error {
	sqlTx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	t := &tx{Tx: sqlTx, feed: int64(s.feed)}
	defer t.rollback()
	if err := t.QueryRowContext(ctx, "SELECT revision, forgotten FROM state").Scan(&t.revision, &t.forgotten); err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	for _, w := range batch {
		w.err = w.run(ctx, t)
		if w.err != nil && !errors.Is(w.err, store.ErrConflict) && !errors.Is(w.err, store.ErrNotFound) {
			return w.err
		}
	}
	if err := t.saveState(ctx); err != nil {
		return err
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// A tx is a transaction that knows where the feed stands.
type tx struct {
	*sql.Tx
	feed      int64
	revision  int64
	forgotten int64
}

func (t *tx) exec(ctx context.Context, query string, args ...any) error {
	_, err := t.ExecContext(ctx, query, args...)
	return err
}

// rollback does nothing once the transaction is committed.
func (t *tx) rollback() { _ = t.Rollback() }

// find returns when the resource was written; a row of revision 0 when there
// is none.
func (t *tx) find(ctx context.Context, k mesh.Key) (row, error) {
	var found row
	err := t.QueryRowContext(ctx, `
		SELECT r.revision, r.created, r.modified FROM current c JOIN revisions r USING (revision)
		WHERE c.mesh = ? AND c.name = ? AND c.kind = ?`, k.Mesh, k.Name, k.Kind).
		Scan(&found.revision, &found.created, &found.modified)
	if errors.Is(err, sql.ErrNoRows) {
		return row{}, nil
	}
	return found, err
}

// append writes what takes the place of revision old; 0 is none.
func (t *tx) append(ctx context.Context, w *row, old int64) error {
	t.revision++
	w.revision = t.revision
	var err error
	if w.spec == nil {
		err = t.exec(ctx, "INSERT INTO revisions (revision, kind, mesh, name) VALUES (?, ?, ?, ?)",
			w.revision, w.kind, w.mesh, w.name)
	} else {
		err = t.exec(ctx, "INSERT INTO revisions (revision, kind, mesh, name, created, modified, labels, spec) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			w.revision, w.kind, w.mesh, w.name, w.created, w.modified, string(w.labels), string(w.spec))
	}
	if err != nil {
		return fmt.Errorf("append to the feed: %w", err)
	}
	switch {
	case w.spec == nil:
		err = t.exec(ctx, "DELETE FROM current WHERE revision = ?", old)
	case old == 0:
		err = t.exec(ctx, "INSERT INTO current (mesh, name, kind, revision) VALUES (?, ?, ?, ?)", w.mesh, w.name, w.kind, w.revision)
	default:
		err = t.exec(ctx, "UPDATE current SET revision = ? WHERE revision = ?", w.revision, old)
	}
	if err != nil {
		return fmt.Errorf("make revision %d current: %w", w.revision, err)
	}
	return t.forget(ctx, old)
}

// forget drops what left the feed and is not current. old, which has just
// ceased to be current, may have left the feed long ago.
func (t *tx) forget(ctx context.Context, old int64) error {
	from := t.forgotten
	t.forgotten = max(t.forgotten, t.revision-t.feed)
	err := t.exec(ctx, `
		DELETE FROM revisions WHERE revision > ? AND revision <= ?
		AND NOT EXISTS (SELECT 1 FROM current c WHERE c.revision = revisions.revision)`, from, t.forgotten)
	if err == nil && old <= t.forgotten {
		err = t.exec(ctx, "DELETE FROM revisions WHERE revision = ?", old)
	}
	if err != nil {
		return fmt.Errorf("forget what left the feed: %w", err)
	}
	return nil
}

func (t *tx) saveState(ctx context.Context) error {
	if err := t.exec(ctx, "UPDATE state SET revision = ?, forgotten = ?", t.revision, t.forgotten); err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	return nil
}

// A row is one line of the table revisions. With no spec it is a deletion.
type row struct {
	revision          int64
	kind, mesh, name  string
	created, modified int64 // nanoseconds since 1970 UTC
	labels, spec      []byte
}

func (w row) key() mesh.Key { return mesh.Key{Kind: w.kind, Mesh: w.mesh, Name: w.name} }

func (w row) resource(k *mesh.Kind) (mesh.Resource, error) {
	r := mesh.Resource{Kind: k, Spec: k.New(), Meta: mesh.Meta{
		Mesh:     w.mesh,
		Name:     w.name,
		Version:  mesh.Version(w.revision),
		Created:  time.Unix(0, w.created).UTC(),
		Modified: time.Unix(0, w.modified).UTC(),
	}}
	err := json.Unmarshal(w.labels, &r.Meta.Labels)
	if len(r.Meta.Labels) == 0 {
		r.Meta.Labels = nil
	}
	if err == nil {
		err = json.Unmarshal(w.spec, r.Spec)
	}
	if err != nil {
		return mesh.Resource{}, fmt.Errorf("read %s: %w", r.Key(), err)
	}
	return r, nil
}
