package cp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/memory"
	"github.com/weft-mesh/weft/pkg/cp/store/postgres"
	"github.com/weft-mesh/weft/pkg/cp/store/sqlite"
	"github.com/weft-mesh/weft/pkg/keyfile"
)

// stores is what can be done with each store. What is nil makes no sense there.
var stores = map[string]struct {
	open    func(ctx context.Context, cfg Config, log *slog.Logger) (store.Keeper, error)
	status  func(ctx context.Context, cfg Config) (store.Schema, error)
	migrate func(ctx context.Context, cfg Config, log *slog.Logger) (was store.Schema, err error)
	backup  func(ctx context.Context, cfg Config, file string) error
	words   string // instead of what is nil
}{
	StoreSQLite: {
		open: func(ctx context.Context, cfg Config, log *slog.Logger) (store.Keeper, error) {
			return sqlite.Open(ctx, cfg.DataDir, log)
		},
		status: func(ctx context.Context, cfg Config) (store.Schema, error) { return sqlite.Status(ctx, cfg.DataDir) },
		migrate: func(ctx context.Context, cfg Config, log *slog.Logger) (store.Schema, error) {
			return sqlite.Migrate(ctx, cfg.DataDir, log)
		},
		backup: func(ctx context.Context, cfg Config, file string) error { return sqlite.Backup(ctx, cfg.DataDir, file) },
	},
	StorePostgres: {
		open: func(ctx context.Context, cfg Config, log *slog.Logger) (store.Keeper, error) {
			return postgres.Open(ctx, cfg.postgres(log))
		},
		status: func(ctx context.Context, cfg Config) (store.Schema, error) {
			return postgres.Status(ctx, cfg.postgres(nil))
		},
		migrate: func(ctx context.Context, cfg Config, log *slog.Logger) (store.Schema, error) {
			return postgres.Migrate(ctx, cfg.postgres(log))
		},
		words: "PostgreSQL has its own: pg_dump, or pg_basebackup with an archive of its log for every moment; keep the data directory's keys beside it (docs/replicas.md)",
	},
	StoreMemory: {
		open:  func(context.Context, Config, *slog.Logger) (store.Keeper, error) { return memory.New(), nil },
		words: "the store is in memory and ends with the process",
	},
}

func (c *Config) postgres(log *slog.Logger) postgres.Options {
	return postgres.Options{DSN: string(c.StoreDSN), TLSCA: c.StoreTLSCA, TLSCert: c.StoreTLSCert, TLSKey: c.StoreTLSKey, Log: log}
}

// SchemaStatus tells how far the store's tables are, and changes nothing.
func SchemaStatus(ctx context.Context, cfg Config) (store.Schema, error) {
	s := stores[cfg.Store]
	if s.status == nil {
		return store.Schema{}, errors.New(s.words)
	}
	return s.status(ctx, cfg)
}

// Migrate brings the store's tables to those of this version, and returns how
// far they were.
func Migrate(ctx context.Context, cfg Config, log *slog.Logger) (store.Schema, error) {
	s := stores[cfg.Store]
	if s.migrate == nil {
		return store.Schema{}, errors.New(s.words)
	}
	return s.migrate(ctx, cfg, log)
}

// Backup writes folder to, which must not be there: a data directory like that
// of now, with the store as it is at one moment, while a control plane may run.
func Backup(ctx context.Context, cfg Config, to string) (err error) {
	s := stores[cfg.Store]
	if s.backup == nil {
		return fmt.Errorf("backup: %s", s.words)
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer func() {
		if err != nil { // half a backup is none
			err = errors.Join(fmt.Errorf("backup: %w", err), os.RemoveAll(to))
		}
	}()
	// The keys after it: one that came meanwhile does no harm, one that is
	// missing would.
	if err := s.backup(ctx, cfg, filepath.Join(to, sqlite.FileName)); err != nil {
		return err
	}
	entries, err := os.ReadDir(cfg.DataDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || sqlite.Owns(e.Name()) {
			continue
		}
		if err := copyKey(filepath.Join(cfg.DataDir, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return syncDir(to)
}

// copyKey copies a small file to one that its owner alone can read.
func copyKey(from, to string) error {
	text, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) { // made and removed meanwhile
		return nil
	}
	if err != nil {
		return err
	}
	return keyfile.Create(to, text)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// openStore opens the store that cfg names.
func openStore(ctx context.Context, cfg Config, log *slog.Logger) (store.Keeper, error) {
	return stores[cfg.Store].open(ctx, cfg, log)
}

func storeMetrics(s store.Keeper) []prometheus.Collector {
	if m, ok := s.(interface{ Metrics() []prometheus.Collector }); ok {
		return m.Metrics()
	}
	return nil
}

// storeFails waits until the store can promise nothing any more.
func storeFails(ctx context.Context, s store.Keeper) error {
	select {
	case <-s.Failed():
		return errors.New("the store's disk failed: the control plane stops, so that it acknowledges nothing that is not kept; look at the disk, then start it again")
	case <-ctx.Done():
		return nil
	}
}
