package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/weft-mesh/weft/internal/testpg"
	"github.com/weft-mesh/weft/pkg/cp/store"
)

// tables lists what is in the schema of a DSN.
func tables(t *testing.T, dsn string) string {
	t.Helper()
	var all string
	c := admin(t, dsn)
	err := c.QueryRow(t.Context(), "SELECT coalesce(string_agg(tablename, ' ' ORDER BY tablename), '') FROM pg_tables WHERE schemaname = current_schema()").Scan(&all)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func admin(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.WithoutCancel(t.Context())) })
	return c
}

const allTables = "current notes revisions schema_version state"

func TestMigrateByManyAtOnce(t *testing.T) {
	dsn := testpg.Schema(t)
	if s, err := Status(t.Context(), Options{DSN: dsn}); err != nil || s.Version != 0 || s.Newest != len(migrations) {
		t.Fatalf("status of an empty database: %+v, %v", s, err)
	}
	if got := tables(t, dsn); got != "" {
		t.Fatalf("Status made %s", got)
	}
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if _, err := Migrate(t.Context(), Options{DSN: dsn}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if was, err := Migrate(t.Context(), Options{DSN: dsn}); err != nil || was.Version != len(migrations) {
		t.Errorf("migrating again: was %+v, %v", was, err)
	}
	if got := tables(t, dsn); got != allTables {
		t.Errorf("tables are %s, want %s", got, allTables)
	}
}

// TestMigrationKilled ends the session of a migration in the middle.
func TestMigrationKilled(t *testing.T) {
	dsn := testpg.Schema(t)
	pool, err := connect(t.Context(), Options{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	released := migrations
	defer func() { migrations = released }()
	migrations = slices.Concat(released, []string{"CREATE TABLE half (a INT); SELECT pg_terminate_backend(pg_backend_pid()); CREATE TABLE never (a INT)"})
	if _, err := migrate(t.Context(), pool, len(migrations)); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("error is %v, want one that wraps %q", err, store.ErrUnavailable)
	}
	if got := tables(t, dsn); got != "" {
		t.Errorf("a killed migration left %s", got)
	}
	migrations = released
	if _, err := migrate(t.Context(), pool, len(migrations)); err != nil {
		t.Fatalf("run again: %v", err)
	}
	if got := tables(t, dsn); got != allTables {
		t.Errorf("tables are %s, want %s", got, allTables)
	}
}

func TestOtherSchemas(t *testing.T) {
	dsn := testpg.Schema(t)
	if err := open(t, dsn).Close(); err != nil {
		t.Fatal(err)
	}
	c := admin(t, dsn)
	for _, test := range []struct {
		version int
		kind    error
		words   []string
	}{
		{99, store.ErrNewer, []string{"schema 99", "backup"}},
		{1, nil, nil},
	} {
		if _, err := c.Exec(t.Context(), "UPDATE schema_version SET version = $1", test.version); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), Options{DSN: dsn})
		if err == nil {
			err = s.Close()
		}
		if !errors.Is(err, test.kind) {
			t.Errorf("schema %d: error is %v, want one that wraps %v", test.version, err, test.kind)
		}
		for _, w := range test.words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("schema %d: error %q lacks %q", test.version, err, w)
			}
		}
	}
	released := migrations
	defer func() { migrations = released }()
	migrations = slices.Concat(released, []string{"CREATE TABLE more (a INT)"})
	if _, err := Open(t.Context(), Options{DSN: dsn}); !errors.Is(err, ErrOlder) || !strings.Contains(err.Error(), "weft-cp migrate up") {
		t.Errorf("tables that are older: %v", err)
	}
	if was, err := Migrate(t.Context(), Options{DSN: dsn}); err != nil || was.Version != 1 {
		t.Errorf("migrate: was %+v, %v", was, err)
	}
	if err := open(t, dsn).Close(); err != nil {
		t.Error(err)
	}
}
