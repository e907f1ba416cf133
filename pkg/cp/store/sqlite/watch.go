package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/durable"
	"github.com/weft-mesh/weft/pkg/failpoint"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// watchBatch is how many changes a watch reads at once.
const watchBatch = 256

// Watch implements store.Store. It is a cursor over the table revisions; the
// bell only says when to look again.
func (s *Store) Watch(ctx context.Context, from mesh.Version) (<-chan store.Change, error) {
	fail := func(err error) (<-chan store.Change, error) {
		return nil, fmt.Errorf("watch from version %d: %w", from, err)
	}
	s.starts.Lock()
	defer s.starts.Unlock()
	if s.queue.Closed() {
		return fail(durable.ErrClosed)
	}
	if _, _, err := s.since(ctx, from); err != nil {
		return fail(err)
	}
	out := make(chan store.Change)
	s.watches.Go(func() {
		defer close(out)
		durable.Feed{Since: s.since, Bell: &s.bell, Closing: s.queue.Closing(), Log: s.log}.Follow(ctx, from, out)
	})
	return out, nil
}

// since returns the first changes after from, and the version up to which
// they tell everything.
func (s *Store) since(ctx context.Context, from mesh.Version) (changes []store.Change, at mesh.Version, _ error) {
	if err := failpoint.At(failpoint.FeedRead); err != nil {
		return nil, from, err
	}
	t, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, from, err
	}
	defer func() { _ = t.Rollback() }() // nothing was written
	var newest, forgotten mesh.Version
	if err := scan(ctx, t, s.parsed.state, nil, []any{&newest, &forgotten}); err != nil {
		return nil, from, err
	}
	if from < forgotten || from > newest {
		return nil, from, store.ErrCompacted
	}
	changed := t.StmtContext(ctx, s.parsed.since)
	defer func() { _ = changed.Close() }() // its end is the transaction's
	found, err := rows(changed.QueryContext(ctx, from, watchBatch))
	if err != nil {
		return nil, from, err
	}
	at = from
	for _, w := range found {
		at = mesh.Version(w.Revision)
		kind, known := s.kinds[w.Kind]
		if !known { // a newer version has left it here
			continue
		}
		c, err := w.Change(kind)
		if err != nil {
			return nil, from, err
		}
		changes = append(changes, c)
	}
	return changes, at, nil
}
