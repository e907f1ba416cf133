package sqlite

import (
	"context"
	"fmt"
)

// Scrub forgets all that is not current, and leaves nothing of it in the files:
// what secrets were before they were sealed. Watchers that are behind have to
// list again.
func (s *Store) Scrub(ctx context.Context) error {
	conn, err := s.write.Conn(ctx)
	if err != nil {
		return fmt.Errorf("scrub %s: %w", fileName, err)
	}
	defer func() { _ = conn.Close() }() // back to its pool
	for _, statement := range []string{
		"BEGIN IMMEDIATE",
		"DELETE FROM revisions WHERE NOT EXISTS (SELECT 1 FROM current c WHERE c.revision = revisions.revision)",
		"UPDATE state SET forgotten = revision",
		"COMMIT",
		"PRAGMA wal_checkpoint(TRUNCATE)",
		"VACUUM",
		"PRAGMA wal_checkpoint(TRUNCATE)",
	} {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			_, _ = conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK") // fails where there is nothing to
			return fmt.Errorf("scrub %s: %w", fileName, err)
		}
	}
	return nil
}
