package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/durable"
	"github.com/weft-mesh/weft/pkg/failpoint"
	"github.com/weft-mesh/weft/pkg/mesh"
)

const (
	watchBatch = 256 // changes that a watch reads at once
	channel    = "weft"
	// pollEvery is how long a notification may be lost before the revision is
	// looked at, and how soon a database that is away is noticed.
	pollEvery = 500 * time.Millisecond
	pollLimit = 2 * time.Second // for the answer
	// doubtAfter is when it is late: a hundred times what it takes.
	doubtAfter = 400 * time.Millisecond
)

// Watch implements store.Store. It is a cursor over the table revisions;
// notifications and the poll behind them only say when to look again. While
// the database is away the watch goes on and tells nothing.
func (s *Store) Watch(ctx context.Context, from mesh.Version) (<-chan store.Change, error) {
	s.starts.Lock()
	defer s.starts.Unlock()
	if _, _, err := s.since(ctx, from); err != nil {
		return nil, fmt.Errorf("watch from version %d: %w", from, err)
	}
	s.listen()
	out := make(chan store.Change)
	s.parts.Go(func() {
		defer close(out)
		durable.Feed{Since: s.since, Bell: &s.bell, Closing: s.queue.Closing(), Again: pollEvery, Log: s.log}.Follow(ctx, from, out)
	})
	return out, nil
}

// since returns the first changes after from, and the version up to which
// they tell everything.
func (s *Store) since(ctx context.Context, from mesh.Version) (changes []store.Change, at mesh.Version, _ error) {
	if err := failpoint.At(failpoint.FeedRead); err != nil {
		return nil, from, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	err := s.asking(ctx, listLimit, func(ctx context.Context) error {
		return s.ofOneMoment(ctx, func(tx pgx.Tx) (err error) {
			changes, at, err = s.next(ctx, tx, from)
			return err
		})
	})
	if err != nil {
		return nil, from, err
	}
	return changes, at, nil
}

func (s *Store) next(ctx context.Context, tx pgx.Tx, from mesh.Version) (changes []store.Change, at mesh.Version, _ error) {
	var newest, forgotten mesh.Version
	if err := tx.QueryRow(ctx, "SELECT revision, forgotten FROM state").Scan(&newest, &forgotten); err != nil {
		return nil, from, err
	}
	if from < forgotten || from > newest {
		return nil, from, store.ErrCompacted
	}
	if from == newest {
		return nil, from, nil
	}
	found, err := rows(tx.Query(ctx, "SELECT "+durable.Columns+" FROM revisions r WHERE r.revision > $1 ORDER BY r.revision LIMIT $2", from, watchBatch))
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

// listening rings the bell when anybody has written, until the store closes.
func (s *Store) listening() {
	for s.ctx.Err() == nil {
		err := s.probed(s.hear(s.ctx))
		if s.ctx.Err() == nil {
			s.log.Debug("connection that hears of changes ended", "error", err)
			wait(s.ctx, pollEvery)
		}
	}
}

// hear rings the bell for each notification and, as these may be lost, when
// the revision has moved without one.
func (s *Store) hear(ctx context.Context) error {
	opening, cancel := context.WithTimeout(ctx, connectTimeout+pollLimit)
	defer cancel()
	c, err := pgx.ConnectConfig(opening, s.pool.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = c.Close(ctx)
	}()
	if _, err := c.Exec(opening, "LISTEN "+channel); err != nil {
		return err
	}
	known := mesh.Version(-1)
	for {
		asked, cancel := context.WithTimeout(ctx, pollLimit)
		var newest mesh.Version
		s.health.ask(s.now())
		err := c.QueryRow(asked, "SELECT revision FROM state").Scan(&newest)
		cancel()
		if err := s.probed(err); err != nil {
			return err
		}
		s.newest.Store(int64(newest))
		if newest != known {
			known = newest
			s.bell.Ring()
		}
		quiet, cancel := context.WithTimeout(ctx, pollEvery)
		_, err = c.WaitForNotification(quiet)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			s.bell.Ring()
		case c.IsClosed():
			return err
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
