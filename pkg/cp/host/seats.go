package host

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// seats are the open streams of hosts that were let in, oldest first, and when
// the last of each name ended. The elder keeps its seat: two hosts with one
// identity must not take turns.
type seats struct {
	mu    sync.Mutex
	taken map[proxy.ID][]*seat
	left  map[proxy.ID]time.Time
	began time.Time // of the first call
}

// A seat is one stream's. It is empty until the stream is let in.
type seat struct {
	id    proxy.ID
	join  string
	who   caller
	since time.Time
}

type seatKey struct{}

// seatedStream is a stream whose context knows its seat.
type seatedStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // gRPC asks streams for theirs
}

func (s seatedStream) Context() context.Context { return s.ctx }

// seated lets the stream of ctx in, and again when it is judged anew.
func (a *Auth) seated(ctx context.Context, g Grant, dp mesh.Resource) error {
	c := callerOf(ctx)
	if err := holds(dp, g, c); err != nil {
		return err
	}
	mine, ok := ctx.Value(seatKey{}).(*seat)
	if !ok {
		return nil
	}
	if other := a.seats.take(mine, g, c, a.now()); other != nil {
		a.log().Warn("second host with one identity was refused", "dataplane", g.ID, "from", c.from, "machine", c.machine,
			"connected_from", other.who.from, "connected_machine", other.who.machine)
		return other.refuse(g)
	}
	return nil
}

// offer returns a seat for a stream that is yet to be let in.
func (s *seats) offer(now time.Time) *seat {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began.IsZero() {
		s.began, s.taken, s.left = now, map[proxy.ID][]*seat{}, map[proxy.ID]time.Time{}
	}
	return &seat{}
}

// take gives mine its seat, unless one is taken by another host.
func (s *seats) take(mine *seat, g Grant, c caller, now time.Time) *seat {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.taken[g.ID]
	if slices.Contains(all, mine) {
		return nil
	}
	if other := s.another(g, c, mine); other != nil {
		return other
	}
	*mine = seat{id: g.ID, join: g.Join, who: c, since: now}
	s.taken[g.ID] = append(all, mine)
	return nil
}

// other finds the seat of another host than the caller.
func (s *seats) other(g Grant, c caller, mine *seat) *seat {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.another(g, c, mine)
}

func (s *seats) another(g Grant, c caller, mine *seat) *seat {
	for _, seat := range s.taken[g.ID] {
		if seat != mine && (seat.join != g.Join || differ(seat.who.machine, c.machine) || differ(seat.who.boot, c.boot)) {
			return seat
		}
	}
	return nil
}

func (s *seats) leave(mine *seat, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.taken[mine.id]
	i := slices.Index(all, mine)
	if i < 0 {
		return
	}
	if all = slices.Delete(all, i, i+1); len(all) > 0 {
		s.taken[mine.id] = all
		return
	}
	delete(s.taken, mine.id)
	s.left[mine.id] = now
}

// quiet says that nobody has a seat by that name, nor had for so long.
func (s *seats) quiet(id proxy.ID, now time.Time, long time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for other, at := range s.left {
		if now.Sub(at) > long {
			delete(s.left, other) // as long as the process
		}
	}
	_, recent := s.left[id]
	return len(s.taken[id]) == 0 && !recent && now.Sub(s.began) > long
}

// refuse says that s is taken.
func (s *seat) refuse(g Grant) error {
	where := fmt.Sprintf("%s is connected from %s since %s", quote(g.ID), s.who.from, s.since.UTC().Format("2006-01-02 15:04:05 UTC"))
	if s.join == g.Join {
		return fmt.Errorf("%w: %s, by a copy of this host's identity or by this host before it was restarted, which passes within 20s; on the copy stop the agent, empty its state folder and join under another --name",
			ErrHeld, where)
	}
	return fmt.Errorf("%w: %s, and is not this one: %s", ErrHeld, where, otherName(g))
}
