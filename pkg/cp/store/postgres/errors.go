package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/durable"
)

// ofServer says which SQLSTATEs, by their beginning, are about the server and
// not about what was asked of it. Source: PostgreSQL, appendix A.
var ofServer = []string{
	"08",    // connection
	"25006", // read only: a standby
	"25P03", // ended for a transaction that stood still: one of us was halted
	"25P04", // or for one that took too long
	"40",    // rolled back: serialization, deadlock
	"53",    // out of connections, memory
	"55P03", // lock not available in time
	"57",    // shut down, starting, cancelled, session ended
	"58",    // its disk
	"XX",    // broken
}

const diskFull = "53100"

// judge gives an error of the driver its meaning.
func judge(err error) error {
	for _, ours := range []error{store.ErrConflict, store.ErrNotFound, store.ErrCompacted, store.ErrFenced, store.ErrNewer, store.ErrUnavailable, durable.ErrClosed, ErrOlder, context.Canceled} {
		if err == nil || errors.Is(err, ours) {
			return err
		}
	}
	said, ok := errors.AsType[*pgconn.PgError](err)
	if !ok { // the way to it, or no answer in time
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	if said.Code == diskFull {
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	}
	for _, class := range ofServer {
		if strings.HasPrefix(said.Code, class) {
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
	}
	return err
}

// A health tells since when the database does not answer.
type health struct {
	mu    sync.Mutex
	since time.Time // zero: it answers
	cause error
	asked time.Time // when the question was put that has no answer yet; zero: there is none
}

// ask notes that a question is put.
func (h *health) ask(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = now
}

// note takes the outcome of a call, and tells whether it is news.
func (h *health) note(err error, now time.Time) (news bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = time.Time{}
	away := errors.Is(err, store.ErrUnavailable)
	news = away == h.since.IsZero()
	switch {
	case !away:
		h.since, h.cause = time.Time{}, nil
	case news:
		h.since, h.cause = now, err
	}
	return news
}

// Away tells since when the database does not answer, and its words; zero when
// it does.
func (s *Store) Away() (since time.Time, cause error) {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	return s.health.since, s.health.cause
}

// Doubtful tells since when the database seems not to answer: sooner than Away,
// when one question has waited for longer than answers take.
func (s *Store) Doubtful() time.Time {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	switch asked := s.health.asked; {
	case !s.health.since.IsZero():
		return s.health.since
	case !asked.IsZero() && s.now().Sub(asked) > doubtAfter:
		return asked
	}
	return time.Time{}
}

// probed notes what the connection that hears of changes found: it alone
// decides whether the database answers, as others' trouble may be their own.
func (s *Store) probed(err error) error {
	err = judge(err)
	if errors.Is(err, context.Canceled) || errors.Is(err, durable.ErrClosed) || !s.health.note(err, s.now()) {
		return err
	}
	if err != nil {
		s.log.Error("database does not answer; proxies keep what they have, writes fail", "error", err)
	} else {
		s.pool.Reset() // connections of before are dead, or will be
		s.log.Info("database answers again")
	}
	return err
}

// tries is how many connections may turn out to be dead before a call fails.
const tries = 3

// asking runs a read, again where its connection was dead, each time within
// limit. While the database is away it fails at once.
func (s *Store) asking(ctx context.Context, limit time.Duration, read func(context.Context) error) (err error) {
	if err := s.usable(ctx); err != nil {
		return err
	}
	for range tries {
		once, cancel := context.WithTimeout(ctx, limit)
		err = judge(read(once))
		late := once.Err() != nil
		if errors.Is(err, context.Canceled) && ctx.Err() == nil { // by the driver, which lost a connection
			err = fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
		cancel()
		if late || !errors.Is(err, store.ErrUnavailable) {
			break
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
