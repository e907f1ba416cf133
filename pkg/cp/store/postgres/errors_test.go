package postgres

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/weft-mesh/weft/internal/testpg"
	"github.com/weft-mesh/weft/pkg/cp/store"
)

// TestWhatTheServerSays: what a session is ended for says nothing of what was
// asked, and who asked asks again.
func TestWhatTheServerSays(t *testing.T) {
	for code, want := range map[string]error{
		"25P03": store.ErrUnavailable, // a server that was halted ends a transaction as it goes on
		"57P01": store.ErrUnavailable,
		"57P05": store.ErrUnavailable,
		"53300": store.ErrUnavailable,
		"40001": store.ErrUnavailable,
		"53100": store.ErrFull,
		"42P01": nil, // no such table
		"22001": nil,
	} {
		err := judge(&pgconn.PgError{Code: code})
		for _, kind := range []error{store.ErrUnavailable, store.ErrFull} {
			if errors.Is(err, kind) != errors.Is(want, kind) {
				t.Errorf("%s is %v, want %v", code, err, want)
			}
		}
	}
}

// TestDriverGivesUp: the driver cancels what it does on a connection that it
// loses. Nobody else has, and so it is no end of a watch.
func TestDriverGivesUp(t *testing.T) {
	s := open(t, testpg.Schema(t))
	asked := 0
	err := s.asking(t.Context(), getLimit, func(context.Context) error {
		if asked++; asked == 1 {
			return context.Canceled
		}
		return nil
	})
	if err != nil || asked != 2 {
		t.Errorf("asked %d times, %v", asked, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = s.asking(ctx, getLimit, func(context.Context) error {
		cancel()
		return ctx.Err()
	})
	if !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrUnavailable) {
		t.Errorf("who gave up himself is told %v", err)
	}
}
