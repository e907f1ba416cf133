// Package sqlite is the store of a single control plane: one SQLite file in
// its data directory, with no set-up.
//
// What Put or Delete acknowledged is on disk. Every write is one row of the
// table revisions, which is the change feed and holds the contents at once;
// the table current says which of its rows count now.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/store/durable"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// The files in the data directory.
const (
	fileName = "weft.db" // beside it SQLite keeps weft.db-wal and weft.db-shm
	lockName = "weft.lock"
)

// feed is how many changes a watcher may lie behind before it has to list
// again. Older ones are forgotten, their contents too unless they are current.
const feed = 50_000

// readConns is how many reads run at once; further ones wait.
const readConns = 4

// A Store keeps resources in one SQLite file. It starts with Open.
type Store struct {
	log   *slog.Logger
	feed  mesh.Version
	now   func() time.Time
	kinds map[string]*mesh.Kind
	lock  *os.File

	write  *sql.DB // one connection
	read   *sql.DB
	parsed statements
	queue  *durable.Queue[change]
	bell   durable.Bell

	close   func() error // once
	starts  sync.Mutex   // held to start a watch, and to close the queue
	watches sync.WaitGroup
	failed  failure
}

// Open opens the store in dir, and makes both where they are not there yet.
// While it is open no other process can open it: ErrInUse. A store that a
// newer version has written is refused with ErrNewer, one whose file is
// damaged with ErrDamaged.
func Open(ctx context.Context, dir string, log *slog.Logger) (*Store, error) {
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{
		log:    log,
		feed:   feed,
		now:    time.Now,
		kinds:  durable.Kinds(),
		lock:   lock,
		failed: failure{ch: make(chan struct{})},
	}
	s.queue = durable.NewQueue(s.commit)
	s.close = sync.OnceValue(s.shut)
	if err := s.open(ctx, filepath.Join(dir, fileName)); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, file string) (err error) {
	if err := makePrivate(file); err != nil {
		return err
	}
	if s.write, err = connect(file, 1, "immediate"); err != nil {
		return err
	}
	if err := check(ctx, s.write, file); err != nil {
		return err
	}
	if err := migrate(ctx, s.write, file); err != nil {
		return err
	}
	if s.read, err = connect(file, readConns, "deferred"); err != nil {
		return err
	}
	return s.parsed.prepare(ctx, s.read, s.write)
}

// Close ends all watches and waits for the writes under way; every later call
// fails. Closing again does nothing.
func (s *Store) Close() error { return s.close() }

func (s *Store) shut() error {
	s.starts.Lock()
	s.queue.Close()
	s.starts.Unlock()
	s.watches.Wait()
	var errs []error
	for _, db := range []*sql.DB{s.read, s.write} { // the last one folds the log into the file
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if err := errors.Join(append(errs, s.lock.Close())...); err != nil {
		return fmt.Errorf("close %s: %w", fileName, err)
	}
	return nil
}
