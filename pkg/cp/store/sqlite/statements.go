package sqlite

import (
	"context"
	"database/sql"

	"github.com/weft-mesh/weft/pkg/cp/store/durable"
)

// statements are what is asked of the file again and again, parsed once:
// parsing costs as much as doing. Those of one connection pool cannot be used
// on the other.
type statements struct {
	get, state, since *sql.Stmt // to read

	standing, find, add, addGone, become, replace, cease, forget, drop, save *sql.Stmt // to write
}

func (s *statements) prepare(ctx context.Context, read, write *sql.DB) (err error) {
	const state = "SELECT revision, forgotten FROM state"
	for _, p := range []struct {
		to    **sql.Stmt
		on    *sql.DB
		query string
	}{
		{&s.get, read, "SELECT " + durable.Columns + ` FROM current c JOIN revisions r USING (revision)
			WHERE c.mesh = ? AND c.name = ? AND c.kind = ?`},
		{&s.state, read, state},
		{&s.since, read, "SELECT " + durable.Columns + " FROM revisions r WHERE r.revision > ? ORDER BY r.revision LIMIT ?"},

		{&s.standing, write, state},
		{&s.find, write, `SELECT r.revision, r.created, r.modified FROM current c JOIN revisions r USING (revision)
			WHERE c.mesh = ? AND c.name = ? AND c.kind = ?`},
		{&s.add, write, "INSERT INTO revisions (revision, kind, mesh, name, created, modified, labels, spec) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"},
		{&s.addGone, write, "INSERT INTO revisions (revision, kind, mesh, name) VALUES (?, ?, ?, ?)"},
		{&s.become, write, "INSERT INTO current (mesh, name, kind, revision) VALUES (?, ?, ?, ?)"},
		{&s.replace, write, "UPDATE current SET revision = ? WHERE revision = ?"},
		{&s.cease, write, "DELETE FROM current WHERE revision = ?"},
		{&s.forget, write, `DELETE FROM revisions WHERE revision > ? AND revision <= ?
			AND NOT EXISTS (SELECT 1 FROM current c WHERE c.revision = revisions.revision)`},
		{&s.drop, write, "DELETE FROM revisions WHERE revision = ?"},
		{&s.save, write, "UPDATE state SET revision = ?, forgotten = ?"},
	} {
		if *p.to, err = p.on.PrepareContext(ctx, p.query); err != nil { //nolint:sqlclosecheck // they live as long as their pool
			return err
		}
	}
	return nil
}

// scan reads the one row that a statement answers within a transaction.
func scan(ctx context.Context, t *sql.Tx, what *sql.Stmt, args, into []any) error {
	bound := t.StmtContext(ctx, what)
	defer func() { _ = bound.Close() }() // its end is the transaction's
	return bound.QueryRowContext(ctx, args...).Scan(into...)
}
