package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/weft-mesh/weft/pkg/cp/store"
)

// FileName is the database's in its data directory.
const FileName = fileName

// Owns tells whether a file of the data directory is the store's.
func Owns(name string) bool { return name == lockName || strings.HasPrefix(name, fileName) }

// Backup writes the store of dir, as it is at one moment, to a file that must
// not be there. A control plane may run on it and write meanwhile.
func Backup(ctx context.Context, dir, to string) (err error) {
	from := filepath.Join(dir, fileName)
	if _, err := os.Stat(from); err != nil {
		return fmt.Errorf("there is no store to back up: %w", err)
	}
	f, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600) // SQLite fills a file that is empty
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	db, err := connect(from, 1, "deferred")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", to); err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	if err := f.Sync(); err != nil {
		return err
	}
	copied, err := connect(to, 1, "deferred")
	if err != nil {
		return err
	}
	// It is read once as a start would: a backup that cannot be used is none.
	return errors.Join(check(ctx, copied, to), copied.Close())
}

// Status tells how far the tables of dir are. It changes nothing; a control
// plane may run on it.
func Status(ctx context.Context, dir string) (s store.Schema, err error) {
	s.Newest = len(migrations)
	file := filepath.Join(dir, fileName)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	db, err := connect(file, 1, "deferred")
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var there int
	err = db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master WHERE name = 'schema'").Scan(&there)
	if err == nil && there > 0 {
		err = db.QueryRowContext(ctx, "SELECT version FROM schema").Scan(&s.Version)
	}
	if err != nil {
		return s, fmt.Errorf("read the schema version of %s: %w", file, err)
	}
	return s, newer(file, s.Version)
}

// Migrate brings the tables of dir to those of today, as Open does, and
// returns how far they were.
func Migrate(ctx context.Context, dir string, log *slog.Logger) (was store.Schema, err error) {
	if was, err = Status(ctx, dir); err != nil {
		return was, err
	}
	s, err := Open(ctx, dir, log)
	if err != nil {
		return was, err
	}
	return was, s.Close()
}
