package postgres

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testpg"
)

// BenchmarkReplicas writes from several replicas at once, 64 writers each, and
// tells how long a change takes to a watcher of another replica.
func BenchmarkReplicas(b *testing.B) {
	for _, n := range []int{1, 3} {
		b.Run(fmt.Sprintf("%d replicas", n), func(b *testing.B) {
			dsn := testpg.Schema(b)
			var stores []*Store
			for range n {
				s, err := Open(b.Context(), Options{DSN: dsn, Log: slog.New(slog.DiscardHandler)})
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				stores = append(stores, s)
			}
			var next atomic.Int64
			b.SetParallelism(64 * n / 2) // for each of two processors
			b.ResetTimer()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					i := next.Add(1)
					if _, err := stores[i%int64(n)].Put(b.Context(), secret(fmt.Sprintf("s%d", i), "x")); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
	b.Run("from write to watcher", func(b *testing.B) {
		dsn := testpg.Schema(b)
		var stores [2]*Store
		for i := range stores {
			s, err := Open(b.Context(), Options{DSN: dsn, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			stores[i] = s
		}
		feed, err := stores[1].Watch(b.Context(), 0)
		if err != nil {
			b.Fatal(err)
		}
		var lag time.Duration
		for i := range b.N {
			if _, err := stores[0].Put(b.Context(), secret(fmt.Sprintf("s%d", i), "x")); err != nil {
				b.Fatal(err)
			}
			acked := time.Now()
			<-feed
			lag += time.Since(acked)
		}
		b.ReportMetric(float64(lag.Microseconds())/float64(b.N)/1000, "ms-after-ack")
	})
}
