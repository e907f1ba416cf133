package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/weft-mesh/weft/pkg/cp/store"
)

// migrations lead from an empty file to the schema of today, one version
// each. What has been released is never edited: a change is another entry.
var migrations = []string{`
CREATE TABLE revisions (
	revision INTEGER PRIMARY KEY,
	kind     TEXT NOT NULL,
	mesh     TEXT NOT NULL, -- '' for global kinds
	name     TEXT NOT NULL,
	created  INTEGER,       -- nanoseconds since 1970 UTC
	modified INTEGER,
	labels   TEXT,          -- JSON object
	spec     TEXT           -- JSON; NULL: this revision deleted the resource
);
CREATE TABLE current (
	mesh     TEXT NOT NULL,
	name     TEXT NOT NULL,
	kind     TEXT NOT NULL,
	revision INTEGER NOT NULL UNIQUE REFERENCES revisions,
	PRIMARY KEY (mesh, name, kind)
) WITHOUT ROWID;
CREATE INDEX current_kind ON current (kind, mesh, name);
CREATE TABLE state (
	revision  INTEGER NOT NULL, -- of the newest write
	forgotten INTEGER NOT NULL  -- the feed begins after this revision
);
INSERT INTO state VALUES (0, 0);
`}

// migrate brings the file to the schema of today, all or nothing.
func migrate(ctx context.Context, db *sql.DB, file string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("migrate %s: %w", file, err)
	}
	defer func() { _ = tx.Rollback() }() // a no-op once committed
	var version int
	_, err = tx.ExecContext(ctx, `
		CREATE TABLE IF NOT EXISTS schema (version INTEGER NOT NULL);
		INSERT INTO schema SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM schema)`)
	if err == nil {
		err = tx.QueryRowContext(ctx, "SELECT version FROM schema").Scan(&version)
	}
	if err != nil {
		return fmt.Errorf("migrate %s: read its schema version: %w", file, err)
	}
	if err := newer(file, version); err != nil {
		return err
	}
	for i, statements := range migrations[version:] {
		if _, err := tx.ExecContext(ctx, statements); err != nil {
			return fmt.Errorf("migrate %s to schema %d: %w", file, version+i+1, err)
		}
	}
	if _, err := tx.ExecContext(ctx, "UPDATE schema SET version = ?", len(migrations)); err != nil {
		return fmt.Errorf("migrate %s: %w", file, err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("migrate %s: %w", file, err)
	}
	return nil
}

// newer refuses a schema that this version does not know.
func newer(file string, version int) error {
	if version <= len(migrations) {
		return nil
	}
	return fmt.Errorf("open %s: %w (schema %d, this one knows up to %d): install that version again, or restore a backup made by this one",
		file, store.ErrNewer, version, len(migrations))
}
