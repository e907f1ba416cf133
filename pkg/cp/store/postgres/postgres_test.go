package postgres

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/weft-mesh/weft/internal/testpg"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/storetest"
)

func TestMain(m *testing.M) { testpg.Main(m) }

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, dir string) store.Store {
		s := open(t, schemaOf(t, dir))
		s.feed = 300
		return s
	}, storetest.Feed(300))
}

// historyRounds is how often the processes of a history are killed.
var historyRounds = flag.Int("history-rounds", 5, "how often a process that writes is killed")

// historyDSN is the database of a history's processes.
const historyDSN = "WEFT_TEST_HISTORY_DSN"

func TestHistory(t *testing.T) {
	dsn := os.Getenv(historyDSN)
	if dsn == "" {
		dsn = testpg.Schema(t)
		t.Setenv(historyDSN, dsn)
	}
	storetest.History(t, func(t *testing.T, _ string) store.Store { return open(t, dsn) }, *historyRounds)
}

var schemas sync.Map // folder -> DSN

// schemaOf gives each folder a schema: it stands for what is in the folder.
func schemaOf(t *testing.T, dir string) string {
	t.Helper()
	dsn, ok := schemas.Load(dir)
	if !ok {
		dsn, _ = schemas.LoadOrStore(dir, testpg.Schema(t))
	}
	return dsn.(string)
}

func open(t *testing.T, dsn string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{DSN: dsn, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("Open(%s): %v", dsn, err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// dial opens a connection as anybody may, without the administrator's rights.
func dial(ctx context.Context, dsn string) (*pgx.Conn, error) {
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	if _, err := c.Exec(ctx, "SELECT 1"); err != nil {
		return nil, err
	}
	return c, nil
}
