// Package postgres is the store that several control planes share: one
// PostgreSQL, 15 or newer.
//
// It keeps what package sqlite keeps, in the same tables. What is different is
// that others write as well: DESIGN.md says how versions stay in order, and
// how replicas know each other.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/durable"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// feed is how many changes a watcher may lie behind before it has to list
// again. Older ones are forgotten, their contents too unless they are current.
const feed = 50_000

// writeTimeout bounds one commit, queueing for other replicas' included.
const writeTimeout = 5 * time.Second

// Options say which database, and how it is reached.
type Options struct {
	// DSN is a URL or keywords as libpq reads them. Of several hosts the one
	// that takes writes is used.
	DSN string
	// TLSCA is a file of certificates by which the server is known; TLSCert and
	// TLSKey show who we are. They are read anew for each connection.
	TLSCA, TLSCert, TLSKey string
	Log                    *slog.Logger // nil: slog.Default
}

// A Store keeps resources in one PostgreSQL database, in the first schema of
// the connection's search path. It starts with Open.
type Store struct {
	log   *slog.Logger
	feed  mesh.Version
	now   func() time.Time
	kinds map[string]*mesh.Kind

	pool  *pgxpool.Pool
	queue *durable.Queue[write]
	bell  durable.Bell

	ctx     context.Context // of what the store does by itself; ends with Close
	cancel  context.CancelFunc
	close   func() error // once
	starts  sync.Mutex   // held to start a watch, and to close the queue
	listen  func()       // once
	parts   sync.WaitGroup
	health  health
	newest  atomic.Int64 // the version as the listener heard it last
	metrics metrics
}

// Open opens the store. An empty database gets its tables; one whose tables
// are older is refused with ErrOlder, see Migrate, one that a newer version
// has written with store.ErrNewer.
func Open(ctx context.Context, o Options) (*Store, error) {
	pool, err := connect(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := prepare(ctx, pool); err != nil {
		pool.Close()
		return nil, err
	}
	s := &Store{log: o.Log, feed: feed, now: time.Now, kinds: durable.Kinds(), pool: pool}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.queue = durable.NewQueue(s.commit)
	s.close = sync.OnceValue(s.shut)
	s.listen = sync.OnceFunc(func() { s.parts.Go(s.listening) })
	s.metrics = newMetrics(s)
	return s, nil
}

// Close implements store.Keeper.
func (s *Store) Close() error { return s.close() }

func (s *Store) shut() error {
	s.starts.Lock()
	s.queue.Close()
	s.starts.Unlock()
	s.cancel()
	s.parts.Wait()
	s.pool.Close()
	return nil
}

// Failed implements store.Keeper: when its disk fails PostgreSQL stops by
// itself, and is another one when it answers again.
func (s *Store) Failed() <-chan struct{} { return nil }

// usable says why nothing can be done.
func (s *Store) usable(ctx context.Context) error {
	if s.queue.Closed() {
		return durable.ErrClosed
	}
	if since, cause := s.Away(); !since.IsZero() {
		return fmt.Errorf("since %s: %w", since.UTC().Format(time.RFC3339), cause)
	}
	return ctx.Err()
}

// prepare makes the tables of an empty database, and wants those of today.
func prepare(ctx context.Context, pool *pgxpool.Pool) error {
	schema, err := status(ctx, pool)
	if err == nil && schema.Version == 0 {
		schema, err = migrate(ctx, pool, len(migrations))
	}
	switch {
	case err != nil:
		return fmt.Errorf("open the database: %w", err)
	case schema.Version < schema.Newest:
		return fmt.Errorf("open the database: %w (schema %d, this one wants %d): run weft-cp migrate up", ErrOlder, schema.Version, schema.Newest)
	}
	return nil
}

// ErrOlder: the tables are of an older version of Weft.
var ErrOlder = errors.New("an older version of Weft has made its tables")

var _ store.Keeper = (*Store)(nil)
