package sqlite

import (
	"flag"
	"log/slog"
	"testing"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, dir string) store.Store {
		s := open(t, dir)
		s.feed = 300
		return s
	}, storetest.Feed(300))
}

// historyRounds is how often the processes of a history are killed.
var historyRounds = flag.Int("history-rounds", 5, "how often a process that writes is killed")

func TestHistory(t *testing.T) {
	storetest.History(t, func(t *testing.T, dir string) store.Store { return open(t, dir) }, *historyRounds)
}

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("Open(%s): %v", dir, err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

func closeStore(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}
