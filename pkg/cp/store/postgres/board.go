package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weft-mesh/weft/pkg/cp/store"
)

// boardLimit bounds one exchange with the board.
const boardLimit = 2 * time.Second

// Post implements store.Board.
func (s *Store) Post(ctx context.Context, replica string, notes []store.Note) error {
	var topics, names, bodies []string
	for _, n := range notes {
		topics, names, bodies = append(topics, n.Topic), append(names, n.Name), append(bodies, string(n.Body))
	}
	ctx, cancel := context.WithTimeout(ctx, boardLimit)
	defer cancel()
	_, err := s.pool.Exec(ctx, `INSERT INTO notes (topic, name, replica, body, posted)
		SELECT n.topic, n.name, $1, n.body, clock_timestamp() FROM unnest($2::text[], $3::text[], $4::text[]) AS n (topic, name, body)
		ON CONFLICT (topic, name, replica) DO UPDATE SET body = EXCLUDED.body, posted = EXCLUDED.posted`, replica, topics, names, bodies)
	if err != nil {
		return fmt.Errorf("post notes: %w", judge(err))
	}
	return nil
}

// overlap is how far behind a note may become visible: it has its time before
// its transaction is committed.
const overlap = 5 * time.Second

// Notes implements store.Board.
func (s *Store) Notes(ctx context.Context, since time.Time) (notes []store.Note, at store.Moment, err error) {
	ctx, cancel := context.WithTimeout(ctx, boardLimit)
	defer cancel()
	fail := func(err error) ([]store.Note, store.Moment, error) {
		return nil, store.Moment{}, fmt.Errorf("read notes: %w", judge(err))
	}
	if err := s.pool.QueryRow(ctx, "SELECT clock_timestamp(), pg_postmaster_start_time()::text").Scan(&at.Now, &at.Life); err != nil {
		return fail(err)
	}
	query, args := "SELECT topic, name, replica, body, posted FROM notes WHERE body <> ''", []any{}
	if !since.IsZero() {
		query, args = "SELECT topic, name, replica, body, posted FROM notes WHERE posted > $1", []any{since.Add(-overlap)}
	}
	found, err := s.pool.Query(ctx, query, args...)
	if err != nil {
		return fail(err)
	}
	notes, err = pgx.CollectRows(found, func(row pgx.CollectableRow) (n store.Note, err error) {
		err = row.Scan(&n.Topic, &n.Name, &n.Replica, &n.Body, &n.Posted)
		return n, err
	})
	if err != nil {
		return fail(err)
	}
	return notes, at, nil
}

// Clean implements store.Board.
func (s *Store) Clean(ctx context.Context, before time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, boardLimit)
	defer cancel()
	// A replica that is there posts its own note again and again, the others
	// only when they change.
	_, err := s.pool.Exec(ctx, `DELETE FROM notes n WHERE posted < $1 AND (body = '' OR NOT EXISTS
		(SELECT 1 FROM notes own WHERE own.topic = 'replica' AND own.name = n.replica AND own.replica = n.replica AND own.posted >= $1))`, before)
	if err != nil {
		return fmt.Errorf("clean notes: %w", judge(err))
	}
	return nil
}

// Claim implements store.Board.
func (s *Store) Claim(ctx context.Context, fingerprint string) (first string, err error) {
	_, err = s.pool.Exec(ctx, "UPDATE state SET authority = $1 WHERE authority = ''", fingerprint)
	if err == nil {
		err = s.pool.QueryRow(ctx, "SELECT authority FROM state").Scan(&first)
	}
	if err != nil {
		return "", fmt.Errorf("claim the authority: %w", judge(err))
	}
	return first, nil
}
