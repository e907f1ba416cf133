package replica

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// TestBlindness walks a replica that does not reach the store.
func TestBlindness(t *testing.T) {
	var all []proxy.ID
	for n := range 3000 {
		all = append(all, proxy.ID{Mesh: "default", Name: fmt.Sprint(n)})
	}
	start := time.Now()
	here := func() []proxy.ID { return slices.Clone(all) }

	t.Run("nobody reaches it: few look, ever less often, and nobody else is told", func(t *testing.T) {
		var b blindness
		told, last := 0, time.Duration(0)
		for at := time.Duration(0); at < 10*time.Minute; at += sightEvery {
			ask, spread := b.next(start.Add(at), here())
			if len(ask) > scouts || spread != 0 || b.found {
				t.Fatalf("after %s %d were told to look, within %s; found %t", at, len(ask), spread, b.found)
			}
			if len(ask) > 0 {
				told, last = told+len(ask), at
			}
		}
		if most := 4 * scouts * int(10*time.Minute/scoutLast); told > most || last < 9*time.Minute {
			t.Errorf("%d looked in ten minutes, the last after %s", told, last)
		}
	})
	t.Run("another one reaches it: scouts go, then all are told and spread", func(t *testing.T) {
		var b blindness
		scouting, _ := b.next(start, here())
		if ask, _ := b.next(start.Add(sightEvery), here()); ask != nil {
			t.Errorf("%d are told before the scouts can have answered", len(ask))
		}
		left := slices.DeleteFunc(here(), func(id proxy.ID) bool { return id == scouting[0] })
		ask, spread := b.next(start.Add(2*sightEvery), left)
		if len(ask) != len(left) || spread < 2*time.Second || b.left != 1 {
			t.Errorf("%d of %d are told, within %s, when %d have left", len(ask), len(left), spread, b.left)
		}
		if again, _ := b.next(start.Add(3*sightEvery), left); again != nil {
			t.Errorf("%d are told once more at once", len(again))
		}
		if again, _ := b.next(start.Add(2*sightEvery+tellAgain), left[:7]); len(again) != 7 {
			t.Errorf("%d of those that stayed are told again, want 7", len(again))
		}
	})
	t.Run("nobody is here", func(t *testing.T) {
		var b blindness
		if ask, _ := b.next(start, nil); ask != nil {
			t.Error("somebody is told")
		}
	})
}

// TestSettled: who was blind until now takes nobody's agents yet.
func TestSettled(t *testing.T) {
	var blind atomic.Bool
	s := &Sight{
		Blind: func() time.Time {
			if blind.Load() {
				return time.Now()
			}
			return time.Time{}
		},
		Agents: func() []proxy.ID { return nil },
		Look:   func([]proxy.ID, time.Time, time.Duration, int64) error { return nil },
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		is := func(what string, want bool) {
			t.Helper()
			if got := s.Settled(time.Now()); got != want {
				t.Errorf("%s: settled %t, want %t", what, got, want)
			}
		}
		pass := func(d time.Duration) {
			<-time.After(d)
			synctest.Wait()
		}
		is("at the start", true)
		blind.Store(true)
		pass(time.Second)
		is("while it is blind", false)
		blind.Store(false)
		pass(settleTime - sightEvery)
		is("when it sees again", false)
		pass(3 * sightEvery)
		is("a while later", true)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
