package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weft-mesh/weft/pkg/cp/store"
)

// migrations lead from an empty schema to that of today, one version each.
// What has been released is never edited: a change is another entry, and one
// that the version before it can live with, as replicas are upgraded one by
// one.
var migrations = []string{`
CREATE TABLE revisions (
	revision BIGINT PRIMARY KEY,
	kind     TEXT COLLATE "C" NOT NULL,
	mesh     TEXT COLLATE "C" NOT NULL, -- '' for global kinds
	name     TEXT COLLATE "C" NOT NULL,
	created  BIGINT,       -- nanoseconds since 1970 UTC
	modified BIGINT,
	labels   JSONB,
	spec     TEXT          -- JSON; NULL: this revision deleted the resource
);
CREATE TABLE current (
	mesh     TEXT COLLATE "C" NOT NULL,
	name     TEXT COLLATE "C" NOT NULL,
	kind     TEXT COLLATE "C" NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (mesh, name, kind)
);
CREATE INDEX current_kind ON current (kind, mesh, name);
CREATE INDEX current_revision ON current (revision);
CREATE TABLE state (
	one       BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
	revision  BIGINT NOT NULL,           -- of the newest write
	forgotten BIGINT NOT NULL,           -- the feed begins after this revision
	epoch     BIGINT NOT NULL DEFAULT 0, -- of the newest leader
	leader    TEXT NOT NULL DEFAULT '',
	authority TEXT NOT NULL DEFAULT ''   -- fingerprint of the replicas' own authority
) WITH (fillfactor = 50);
INSERT INTO state (revision, forgotten) VALUES (0, 0);
CREATE UNLOGGED TABLE notes (
	topic   TEXT COLLATE "C" NOT NULL,
	name    TEXT COLLATE "C" NOT NULL,
	replica TEXT COLLATE "C" NOT NULL,
	body    TEXT NOT NULL, -- JSON; '' takes the note away
	posted  TIMESTAMPTZ NOT NULL,
	PRIMARY KEY (topic, name, replica)
);
CREATE INDEX notes_posted ON notes (posted);
`}

// lockKey keeps schemas of one database apart. The first half says that the
// lock is Weft's.
const lockKey = "1465205332, hashtext(current_schema() || $1)"

// Status tells how far the tables are. It changes nothing.
func Status(ctx context.Context, o Options) (store.Schema, error) {
	pool, err := connect(ctx, o)
	if err != nil {
		return store.Schema{}, err
	}
	defer pool.Close()
	return status(ctx, pool)
}

// Migrate brings the tables to those of today, all or nothing, and returns how
// far they were. Of several that do so at once one works and the others wait.
func Migrate(ctx context.Context, o Options) (was store.Schema, err error) {
	pool, err := connect(ctx, o)
	if err != nil {
		return was, err
	}
	defer pool.Close()
	if was, err = status(ctx, pool); err != nil {
		return was, err
	}
	_, err = migrate(ctx, pool, len(migrations))
	return was, err
}

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func status(ctx context.Context, q querier) (s store.Schema, err error) {
	s.Newest = len(migrations)
	var there bool
	// Not to_regclass: it looks at a cache that another's commit may have passed by.
	err = q.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'schema_version')").Scan(&there)
	if err == nil && there {
		err = q.QueryRow(ctx, "SELECT version FROM schema_version").Scan(&s.Version)
	}
	if err != nil {
		return s, fmt.Errorf("read the schema version: %w", judge(err))
	}
	if s.Version > s.Newest {
		return s, fmt.Errorf("%w (schema %d, this one knows up to %d): install that version again, or restore a backup made by this one",
			store.ErrNewer, s.Version, s.Newest)
	}
	return s, nil
}

// migrate goes up to version to in one transaction: who is killed in the
// middle has changed nothing.
func migrate(ctx context.Context, pool *pgxpool.Pool, to int) (s store.Schema, err error) {
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		// Others wait for as long as it takes, and find it done.
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = 0"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock("+lockKey+")", "migrate"); err != nil {
			return err
		}
		if s, err = status(ctx, tx); err != nil {
			return err
		}
		if s.Version >= to {
			return nil
		}
		if s.Version == 0 {
			if _, err := tx.Exec(ctx, "CREATE TABLE schema_version (version INTEGER NOT NULL); INSERT INTO schema_version VALUES (0)"); err != nil {
				return err
			}
		}
		for i, statements := range migrations[s.Version:to] {
			if _, err := tx.Exec(ctx, statements); err != nil {
				return fmt.Errorf("to schema %d: %w", s.Version+i+1, err)
			}
		}
		s.Version = to
		_, err := tx.Exec(ctx, "UPDATE schema_version SET version = $1", to)
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNewer) {
		err = fmt.Errorf("migrate: %w", judge(err))
	}
	return s, err
}
