package postgres

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/pkg/cp/store/durable"
)

type metrics struct {
	up      prometheus.GaugeFunc
	conns   prometheus.GaugeFunc
	commits prometheus.Counter
	failed  prometheus.Counter
	writes  prometheus.Counter
	seconds prometheus.Histogram
}

func newMetrics(s *Store) metrics {
	return metrics{
		up: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weft_store_up", Help: "1 while the database answers.",
		}, func() float64 {
			if since, _ := s.Away(); !since.IsZero() {
				return 0
			}
			return 1
		}),
		conns: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weft_store_connections", Help: "Connections to the database that are open.",
		}, func() float64 { return float64(s.pool.Stat().TotalConns()) }),
		commits: prometheus.NewCounter(prometheus.CounterOpts{Name: "weft_store_commits_total", Help: "Transactions of writes."}),
		failed:  prometheus.NewCounter(prometheus.CounterOpts{Name: "weft_store_failed_commits_total", Help: "Transactions of writes that failed."}),
		writes:  prometheus.NewCounter(prometheus.CounterOpts{Name: "weft_store_writes_total", Help: "Writes that shared them."}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "weft_store_commit_seconds", Help: "How long a transaction of writes took, waiting for other replicas included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14), // 0.5 ms to 4 s
		}),
	}
}

// Metrics are for a prometheus registry.
func (s *Store) Metrics() []prometheus.Collector {
	m := s.metrics
	return []prometheus.Collector{m.up, m.conns, m.commits, m.failed, m.writes, m.seconds}
}

// measured is transact with its figures.
func (s *Store) measured(ctx context.Context, batch []*durable.Write[write]) error {
	began := time.Now()
	err := judge(s.transact(ctx, batch))
	s.metrics.seconds.Observe(time.Since(began).Seconds())
	s.metrics.commits.Inc()
	s.metrics.writes.Add(float64(len(batch)))
	if err != nil {
		s.metrics.failed.Inc()
	}
	return err
}
