package replica

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// How a replica that does not reach the store finds out whether others do: see
// DESIGN.md.
const (
	sightEvery = 100 * time.Millisecond
	// scouts are how many agents look at a time, while it is not known whether
	// any replica reaches the store.
	scouts = 4
	// scoutTime is how long scouts are waited for, at first and at most.
	scoutTime = time.Second
	scoutLast = 8 * time.Second
	// handOnRate is how many agents a second are handed on.
	handOnRate  = 1000
	leastSpread = 200 * time.Millisecond
	// tellAgain is how often all that are still here are told.
	tellAgain = 10 * time.Second
	// settleTime is for how long a replica that reaches the store again says that
	// it does not: where that was away for all, the others are about to reach it.
	settleTime = 2 * time.Second
)

// A Sight hands a replica's agents on while it does not reach the store and
// another one does.
type Sight struct {
	// Blind tells since when the store is not reached; zero: it is.
	Blind func() time.Time
	// Agents are those that can be told, Look tells some of them to look within
	// spread, and no others; round is another one each time.
	Agents func() []proxy.ID
	Look   func(ids []proxy.ID, since time.Time, spread time.Duration, round int64) error
	Log    *slog.Logger // nil: slog.Default

	handed atomic.Uint64
	round  int64
	blind  atomic.Int64 // when it was seen blind last, in Unix nanoseconds
}

// Metrics are for a prometheus registry.
func (s *Sight) Metrics() []prometheus.Collector {
	return []prometheus.Collector{prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "weft_replica_handed_on_total", Help: "Agents that went to another replica because this one did not reach the store.",
	}, func() float64 { return float64(s.handed.Load()) })}
}

// Settled tells whether the store was reached for long enough for agents of
// others to come.
func (s *Sight) Settled(now time.Time) bool {
	return now.Sub(time.Unix(0, s.blind.Load())) > settleTime
}

// Run works until ctx ends, then returns nil.
func (s *Sight) Run(ctx context.Context) error {
	tick := time.NewTicker(sightEvery)
	defer tick.Stop()
	var b blindness
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			since := s.Blind()
			if since.IsZero() {
				if b.told != nil {
					s.tell(nil, time.Time{}, 0)
				}
				b = blindness{}
				continue
			}
			s.blind.Store(now.UnixNano())
			ask, spread := b.next(now, s.Agents())
			s.handed.Add(uint64(b.left))
			if len(ask) > 0 {
				s.tell(ask, since, spread)
			}
			if b.found && !b.logged {
				b.logged = true
				s.log().Warn("this control plane does not reach the store and another one does: agents are handed on", "since", since, "agents", len(ask))
			}
		}
	}
}

func (s *Sight) tell(ids []proxy.ID, since time.Time, spread time.Duration) {
	s.round++
	if err := s.Look(ids, since, spread, s.round); err != nil {
		s.log().Error("agents were not told to look for another control plane", "error", err)
	}
}

func (s *Sight) log() *slog.Logger { return cmp.Or(s.Log, slog.Default()) }

// A blindness is what is known while the store is not reached.
type blindness struct {
	told   map[proxy.ID]bool // and still here
	at     time.Time         // when
	wait   time.Duration     // for scouts
	found  bool              // one of them went: another replica reaches the store
	left   int               // how many went since the step before
	logged bool
}

// next is one step: who is to look now, and over how long they spread.
func (b *blindness) next(now time.Time, here []proxy.ID) (ask []proxy.ID, spread time.Duration) {
	there := make(map[proxy.ID]bool, len(here))
	for _, id := range here {
		there[id] = true
	}
	b.left = 0
	for id := range b.told {
		if !there[id] {
			b.left++
			delete(b.told, id)
		}
	}
	found := b.found || b.left > 0
	first := found && !b.found
	b.found = found
	switch {
	case len(here) == 0:
		return nil, 0
	case found && (first || now.Sub(b.at) >= tellAgain):
		ask = here
		spread = max(leastSpread, time.Duration(len(here))*time.Second/handOnRate)
	case !found && now.Sub(b.at) >= b.wait:
		rand.Shuffle(len(here), func(i, j int) { here[i], here[j] = here[j], here[i] })
		ask = here[:min(scouts, len(here))]
		b.wait = min(max(2*b.wait, scoutTime), scoutLast)
	default:
		return nil, 0
	}
	b.at, b.told = now, map[proxy.ID]bool{}
	for _, id := range ask {
		b.told[id] = true
	}
	return ask, spread
}
