package replica

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/store"
)

// A Duty is what one replica does for all, now and again. Its context ends
// when the replica does not lead any more, and fences its writes.
type Duty struct {
	Name  string
	Every time.Duration
	Run   func(ctx context.Context) error
}

const (
	holdEvery = store.LeaseTime / 3
	// certain is how long a leader is sure after he has shown that he is
	// there. The rest of the lease is for the way.
	certain = store.LeaseTime * 4 / 5
	retry   = 500 * time.Millisecond
)

// Leader tells whether this replica leads.
func (g *Group) Leader() bool {
	if g.Board == nil {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Now().Before(g.until)
}

// leading leads whenever it can, until ctx ends.
func (g *Group) leading(ctx context.Context) error {
	if g.Board == nil {
		g.serve(ctx)
		return nil
	}
	for ctx.Err() == nil {
		l, err := g.Board.Lead(ctx, g.Instance)
		if err == nil {
			err = g.term(ctx, l)
		}
		if ctx.Err() == nil {
			g.Log.Debug("this replica does not lead", "error", err)
			select {
			case <-time.After(retry):
			case <-ctx.Done():
			}
		}
	}
	return nil
}

// term leads until the leadership is lost.
func (g *Group) term(ctx context.Context, l store.Leadership) error {
	defer l.Release()
	ctx, cancel := context.WithCancel(store.WithFence(ctx, l.Epoch()))
	defer cancel()
	began := time.Now()
	if err := l.Hold(ctx); err != nil {
		return err
	}
	g.held(began, l.Epoch())
	g.Log.Info("this replica leads", "epoch", l.Epoch())
	var duties sync.WaitGroup
	duties.Go(func() { g.serve(ctx) })
	defer duties.Wait()
	defer cancel()
	tick := time.NewTicker(holdEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			g.held(time.Time{}, 0)
			return ctx.Err()
		}
		began := time.Now()
		if err := l.Hold(ctx); err != nil {
			g.held(time.Time{}, 0)
			g.Log.Warn("this replica does not lead any more", "epoch", l.Epoch(), "error", err)
			return err
		}
		g.held(began, l.Epoch())
	}
}

// held notes when the leader was last there; zero: he is none.
func (g *Group) held(at time.Time, epoch int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.until, g.epoch = time.Time{}, epoch
	if !at.IsZero() {
		g.until = at.Add(certain)
	}
}

// serve does the duties until ctx ends.
func (g *Group) serve(ctx context.Context) {
	var all sync.WaitGroup
	for _, d := range g.duties() {
		all.Go(func() {
			tick := time.NewTicker(d.Every)
			defer tick.Stop()
			for {
				g.do(ctx, d)
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	all.Wait()
}

func (g *Group) duties() []Duty {
	if g.Board == nil {
		return g.Duties
	}
	return append([]Duty{{Name: "board", Every: 10 * time.Second, Run: func(ctx context.Context) error {
		g.mu.Lock()
		before := g.now().Add(-forgotten)
		g.mu.Unlock()
		return g.Board.Clean(ctx, before)
	}}}, g.Duties...)
}

// do does a duty once. Its failure is its own: it is done again.
func (g *Group) do(ctx context.Context, d Duty) {
	err := func() (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
			}
		}()
		return d.Run(ctx)
	}()
	outcome := "done"
	if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrFenced) {
		outcome = "failed"
		g.Log.Warn("leader's duty failed and is done again", "duty", d.Name, "again", d.Every, "error", err)
	}
	g.metrics.duties.WithLabelValues(d.Name, outcome).Inc()
}
