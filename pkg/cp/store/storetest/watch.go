package storetest

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

func testListThenWatch(t *testing.T, suite *suite) {
	s := suite.fresh(t)
	put(t, s, permission("listed"))
	at := list(t, s, store.Query{}).At
	after := put(t, s, permission("after", "web"))
	c := receive(t, watch(t.Context(), t, s, at))
	if c.Key != after.Key() || c.Version != after.Meta.Version || c.Version != at+1 {
		t.Errorf("first change is %s at %d, want %s at %d", c.Key, c.Version, after.Key(), at+1)
	}
	wantSame(t, "the change", *c.Now, after)
}

func testWatchFromAnywhere(t *testing.T, suite *suite) {
	s := suite.fresh(t)
	first := put(t, s, permission("a", "one"))
	put(t, s, permission("b"))
	first.Spec = permission("a", "two").Spec
	put(t, s, first)
	remove(t, s, permission("b").Key())
	want := []string{"1 +a", "2 +b", "3 +a", "4 -b", "5 +c"}
	var all []<-chan store.Change
	for from := range 5 {
		all = append(all, watch(t.Context(), t, s, mesh.Version(from)))
	}
	put(t, s, permission("c"))
	for from, ch := range all {
		var got []string
		for range len(want) - from {
			c := receive(t, ch)
			got = append(got, describe(c))
			if c.Now != nil && c.Now.Meta.Version != c.Version {
				t.Errorf("change %d carries version %d: a change tells what was written then", c.Version, c.Now.Meta.Version)
			}
		}
		wantSame(t, fmt.Sprintf("feed from %d", from), got, want[from:])
	}
}

// testWatchUnderWrites starts watchers at every moment while writers create,
// replace and delete. Each must get each later version once, in order, and
// the changes must add up to what is stored in the end.
func testWatchUnderWrites(t *testing.T, suite *suite) {
	s := suite.fresh(t)
	const writers, watchers, rounds = 6, 6, 9
	const last = writers * rounds * 3
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var writing, watching sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range rounds {
				name := fmt.Sprintf("w%d-%d", w, i%3)
				r, err := s.Put(ctx, permission(name, fmt.Sprint(i)))
				if err == nil {
					_, err = s.Put(ctx, r)
				}
				if err == nil && i < rounds-3 {
					err = s.Delete(ctx, r.Key(), 0)
				} else if err == nil {
					_, err = s.Put(ctx, permission(fmt.Sprintf("last-%d-%d", w, i)))
				}
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
			}
		})
	}
	for w := range watchers {
		watching.Go(func() {
			page, err := s.List(ctx, store.Query{})
			if err != nil {
				t.Errorf("List: %v", err)
				return
			}
			known := map[mesh.Key]mesh.Version{}
			for _, r := range page.Items {
				known[r.Key()] = r.Meta.Version
			}
			ch, err := s.Watch(ctx, page.At)
			if err != nil {
				t.Errorf("Watch(%d): %v", page.At, err)
				return
			}
			for want := page.At + 1; want <= last; want++ {
				c, ok := <-ch
				if !ok || c.Version != want {
					t.Errorf("watcher %d got version %d (open %t), want %d", w, c.Version, ok, want)
					return
				}
				delete(known, c.Key)
				if c.Now != nil {
					known[c.Key] = c.Version
				}
			}
			page, err = s.List(ctx, store.Query{})
			if err != nil {
				t.Errorf("List: %v", err)
				return
			}
			now := map[mesh.Key]mesh.Version{}
			for _, r := range page.Items {
				now[r.Key()] = r.Meta.Version
			}
			wantSame(t, "what the changes add up to", known, now)
		})
	}
	writing.Wait()
	if at := list(t, s, store.Query{}).At; at != last {
		t.Errorf("version %d after %d writes", at, last)
	}
	if t.Failed() {
		cancel()
	}
	watching.Wait()
}

func testWatchEnds(t *testing.T, suite *suite) {
	s := suite.fresh(t)
	ctx, cancel := context.WithCancel(t.Context())
	idle := watch(ctx, t, s, 0)
	cancel()
	drained(t, idle)

	ctx, cancel = context.WithCancel(t.Context())
	busy := watch(ctx, t, s, 0)
	for i := range 10 {
		put(t, s, permission(fmt.Sprint(i)))
	}
	receive(t, busy)
	cancel() // while the next change waits to be taken
	drained(t, busy)
	put(t, s, permission("later"))
}

func testWatchFuture(t *testing.T, suite *suite) {
	s := suite.fresh(t)
	put(t, s, permission("p"))
	_, err := s.Watch(t.Context(), 2) // of another history
	wantErr(t, err, store.ErrCompacted)
}

func testCompacted(t *testing.T, suite *suite) {
	if suite.feed == 0 {
		t.Skip("the length of the feed is not known")
	}
	s := suite.fresh(t)
	old := put(t, s, permission("old", "web"))
	r := put(t, s, permission("busy"))
	for range suite.feed {
		r = put(t, s, r)
	}
	_, err := s.Watch(t.Context(), 0)
	wantErr(t, err, store.ErrCompacted)
	_, err = s.Watch(t.Context(), 1)
	wantErr(t, err, store.ErrCompacted)
	if c := receive(t, watch(t.Context(), t, s, 2)); c.Version != 3 {
		t.Errorf("first change after 2 is %d, want 3", c.Version)
	}
	wantSame(t, "what was written before the feed begins", get(t, s, old.Key()), old)
	put(t, s, old)
	remove(t, s, old.Key())
	_, err = s.Get(t.Context(), old.Key())
	wantErr(t, err, store.ErrNotFound)
}

// testSlowWatcher takes nothing until the feed has left the watcher behind:
// what he gets then has no gap, and his watch ends unless he got all.
func testSlowWatcher(t *testing.T, suite *suite) {
	if suite.feed == 0 {
		t.Skip("the length of the feed is not known")
	}
	s := suite.fresh(t)
	ch := watch(t.Context(), t, s, 0)
	r := put(t, s, permission("busy"))
	last := mesh.Version(3 * suite.feed)
	for r.Meta.Version < last {
		r = put(t, s, r)
	}
	for want := mesh.Version(1); want <= last; want++ {
		c, ok := <-ch
		if !ok {
			return
		}
		if c.Version != want {
			t.Fatalf("version %d, want %d", c.Version, want)
		}
	}
}

func testClosed(t *testing.T, suite *suite) {
	s := suite.fresh(t)
	put(t, s, permission("p"))
	ch := watch(t.Context(), t, s, 1)
	closeStore(t, s)
	drained(t, ch)
	if _, err := s.Put(t.Context(), permission("q")); err == nil {
		t.Error("Put after Close succeeded")
	}
	if _, err := s.Get(t.Context(), permission("p").Key()); err == nil {
		t.Error("Get after Close succeeded")
	}
	if _, err := s.List(t.Context(), store.Query{}); err == nil {
		t.Error("List after Close succeeded")
	}
	if _, err := s.Watch(t.Context(), 0); err == nil {
		t.Error("Watch after Close succeeded")
	}
	if err := s.Delete(t.Context(), permission("p").Key(), 0); err == nil {
		t.Error("Delete after Close succeeded")
	}
}
