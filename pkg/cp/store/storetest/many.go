package storetest

import (
	"flag"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// many is how many resources a store is filled with.
var many = flag.Int("store-many", 5_000, "resources in the test of many; 100000 for the whole of it")

// atOnce is how many writers there are; as many writes may share a commit.
const atOnce = 128

// testMany fills the store, reads it in every way, and empties it again, while
// somebody who only reads one resource waits for nothing.
func testMany(t *testing.T, suite *suite) {
	s := suite.fresh(t)
	n := *many
	each := func(do func(i int) error) time.Duration {
		began := time.Now()
		next := make(chan int, n)
		for i := range n {
			next <- i
		}
		close(next)
		var wg sync.WaitGroup
		for range atOnce {
			wg.Go(func() {
				for i := range next {
					if err := do(i); err != nil {
						t.Errorf("resource %d: %v", i, err)
						return
					}
				}
			})
		}
		wg.Wait()
		return time.Since(began)
	}
	name := func(i int) string { return fmt.Sprintf("many-%06d", i) }
	put(t, s, secret("other", nil))
	quit, others := make(chan struct{}), make(chan time.Duration)
	go func() { // p99 of somebody else
		var slowest []time.Duration
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				others <- percentile(slowest, 99)
				return
			case <-tick.C:
			}
			began := time.Now()
			if _, err := s.Get(t.Context(), secret("other", nil).Key()); err != nil {
				t.Errorf("Get: %v", err)
			}
			slowest = append(slowest, time.Since(began))
		}
	}()
	wrote := each(func(i int) error {
		_, err := s.Put(t.Context(), permission(name(i), "web"))
		return err
	})
	began := time.Now()
	all := list(t, s, store.Query{})
	listed := time.Since(began)
	if all.Total != n+1 || len(all.Items) != n+1 || all.At != mesh.Version(n+1) {
		t.Fatalf("%d of %d resources at version %d, want %d", len(all.Items), all.Total, all.At, n+1)
	}
	for i, r := range all.Items[:n] {
		if r.Meta.Name != name(i) {
			t.Fatalf("resource %d is %s, want %s", i, r.Meta.Name, name(i))
		}
	}
	began = time.Now()
	page := list(t, s, store.Query{Kind: mesh.TrafficPermissionKind, Offset: n - 10, Size: 100})
	paged := time.Since(began)
	if len(page.Items) != 10 || page.Total != n {
		t.Errorf("the last page has %d of %d, want 10 of %d", len(page.Items), page.Total, n)
	}
	feed := watch(t.Context(), t, s, all.At)
	one := all.Items[n/2]
	put(t, s, one)
	if c := receive(t, feed); c.Key != one.Key() || c.Version != all.At+1 {
		t.Errorf("the feed says %s, want %s at %d", describe(c), one.Key(), all.At+1)
	}
	var heap runtime.MemStats
	runtime.ReadMemStats(&heap)
	deleted := each(func(i int) error { return s.Delete(t.Context(), permission(name(i)).Key(), 0) })
	close(quit)
	p99 := <-others
	if p99 > time.Second {
		t.Errorf("others wait %s (p99) for one resource, want less than 1 s", p99)
	}
	if left := list(t, s, store.Query{}); left.Total != 1 {
		t.Errorf("%d resources are left, want 1", left.Total)
	}
	t.Logf("many: %d resources, %.0f writes/s, %.0f deletes/s, list of all %s, last page %s, others' p99 %s, heap %d MiB",
		n, float64(n)/wrote.Seconds(), float64(n)/deleted.Seconds(), listed.Round(time.Millisecond), paged.Round(time.Millisecond), p99.Round(100*time.Microsecond), heap.HeapAlloc>>20)
}

// percentile is of times that were measured one after the other. The longest
// one is left out: where the machine stands still, one of them meets it.
func percentile(all []time.Duration, p int) time.Duration {
	if len(all) < 2 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	sorted = sorted[:len(sorted)-1]
	return sorted[min(len(sorted)-1, len(sorted)*p/100)]
}
