package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	driver "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"
)

// What Open's errors wrap.
var (
	ErrInUse   = errors.New("another process uses it")
	ErrDamaged = errors.New("the file is damaged")
)

// lockDir makes dir where it is not there yet and keeps other processes out
// of it until the file is closed, which the end of the process does too.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, cannotWrite(dir, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, cannotWrite(dir, err)
	}
	if err := hold(f, dir); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// hold locks f and notes in it who does so.
func hold(f *os.File, dir string) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder, _ := os.ReadFile(f.Name()) // only makes the words better
		return fmt.Errorf("open data directory %s: %w (process %s): stop that one, or give this control plane a data directory of its own",
			dir, ErrInUse, strings.TrimSpace(string(holder)))
	}
	if err != nil {
		return fmt.Errorf("lock data directory %s: %w", dir, err)
	}
	if err := f.Truncate(0); err != nil {
		return cannotWrite(dir, err)
	}
	if _, err := fmt.Fprintf(f, "%d\n", os.Getpid()); err != nil {
		return cannotWrite(dir, err)
	}
	return nil
}

func cannotWrite(dir string, err error) error {
	remedy := "choose another data directory"
	switch {
	case errors.Is(err, fs.ErrPermission):
		remedy = fmt.Sprintf("give it to the user that runs the control plane (uid %d), or choose another data directory", os.Geteuid())
	case errors.Is(err, syscall.ENOSPC):
		remedy = "make room on that disk"
	case errors.Is(err, syscall.EROFS):
		remedy = "mount it read-write, or choose another data directory"
	}
	return fmt.Errorf("data directory %s is not writable: %w: %s", dir, err, remedy)
}

// makePrivate makes the file readable by its owner alone before anything is
// in it; SQLite gives the files beside it the same mode.
func makePrivate(file string) error {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return cannotWrite(filepath.Dir(file), err)
	}
	if err := errors.Join(f.Chmod(0o600), f.Close()); err != nil {
		return fmt.Errorf("keep %s private: %w", file, err)
	}
	return nil
}

// connect prepares connections to the file. FULL makes a commit wait until
// the log is on disk.
func connect(file string, conns int, txlock string) (*sql.DB, error) {
	path, err := filepath.Abs(file)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", file, err)
	}
	name := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{
		"_txlock": {txlock},
		"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)"},
	}.Encode()}
	db, err := sql.Open("sqlite", name.String())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", file, err)
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// check makes sure that the file is whole and that commits will be durable.
func check(ctx context.Context, db *sql.DB, file string) error {
	damaged := func(what any) error {
		return fmt.Errorf("open %s: %w (%v): move it and the files %s-* away and put a backup in its place", file, ErrDamaged, what, fileName)
	}
	var mode, verdict string
	err := db.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode)
	if err == nil {
		err = db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict)
	}
	switch {
	case isDamage(err):
		return damaged(err)
	case err != nil:
		return fmt.Errorf("open %s: %w", file, err)
	case verdict != "ok":
		return damaged(verdict)
	case mode != "wal":
		return fmt.Errorf("open %s: its disk allows only journal mode %q, not WAL: choose a data directory on a local disk", file, mode)
	}
	return nil
}

func isDamage(err error) bool {
	failed, ok := errors.AsType[*driver.Error](err)
	if !ok {
		return false
	}
	code := failed.Code() & 0xff // the primary result code
	return code == codes.SQLITE_CORRUPT || code == codes.SQLITE_NOTADB
}
