package durable

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// A Feed is what a watch reads: a table of revisions. The bell only says when to
// look again.
type Feed struct {
	// Since returns the first changes after a version, and the version up to
	// which they tell everything.
	Since   func(ctx context.Context, from mesh.Version) (changes []store.Change, at mesh.Version, _ error)
	Bell    *Bell
	Closing <-chan struct{} // closed with the store
	// Again is after how long a store that cannot be reached is asked again; 0: a
	// store that fails once has failed.
	Again time.Duration
	Log   *slog.Logger
}

// Follow sends every change after at to out until ctx ends, the store closes or
// the feed no longer reaches back far enough.
func (f Feed) Follow(ctx context.Context, at mesh.Version, out chan<- store.Change) {
	for {
		ring := f.Bell.Wait() // before looking: what is written from now on rings it
		changes, upTo, err := f.Since(ctx, at)
		waits := f.Again > 0 && errors.Is(err, store.ErrUnavailable)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, store.ErrCompacted):
			f.Log.Warn("watch fell behind the change feed", "at", at)
			return
		case err != nil && !waits:
			f.Log.Error("watch could not read the change feed", "at", at, "error", err)
			return
		}
		for _, c := range changes {
			select {
			case out <- c:
			case <-ctx.Done():
				return
			case <-f.Closing:
				return
			}
		}
		if upTo > at {
			at = upTo
			continue
		}
		var again <-chan time.Time
		if waits {
			again = time.After(f.Again)
		}
		select {
		case <-ring:
		case <-again:
		case <-ctx.Done():
			return
		case <-f.Closing:
			return
		}
	}
}
