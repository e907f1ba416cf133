package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/pkg/cp/store/durable"
)

type metrics struct {
	up      prometheus.GaugeFunc
	pool    []prometheus.Collector
	newest  prometheus.GaugeFunc
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
		newest: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weft_store_version", Help: "The store's version, as this replica heard it last. weft_state_version follows it.",
		}, func() float64 { return float64(s.newest.Load()) }),
		pool:    poolMetrics(s),
		commits: prometheus.NewCounter(prometheus.CounterOpts{Name: "weft_store_commits_total", Help: "Transactions of writes."}),
		failed:  prometheus.NewCounter(prometheus.CounterOpts{Name: "weft_store_failed_commits_total", Help: "Transactions of writes that failed."}),
		writes:  prometheus.NewCounter(prometheus.CounterOpts{Name: "weft_store_writes_total", Help: "Writes that shared them."}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "weft_store_commit_seconds", Help: "How long a transaction of writes took, waiting for other replicas included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14), // 0.5 ms to 4 s
		}),
	}
}

func poolMetrics(s *Store) (all []prometheus.Collector) {
	for _, m := range []struct {
		name, help string
		read       func(*pgxpool.Stat) int64
	}{
		{"weft_store_connections", "Connections to the database that are open.", func(p *pgxpool.Stat) int64 { return int64(p.TotalConns()) }},
		{"weft_store_connections_used", "Connections to the database that somebody uses.", func(p *pgxpool.Stat) int64 { return int64(p.AcquiredConns()) }},
		{"weft_store_connections_limit", "Connections to the database that there may be, beside the two of the listener and the leader.", func(p *pgxpool.Stat) int64 { return int64(p.MaxConns()) }},
	} {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: m.name, Help: m.help}, func() float64 { return float64(m.read(s.pool.Stat())) }))
	}
	return append(all, prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "weft_store_connection_waits_total", Help: "How often somebody waited for a connection to the database, as all were in use.",
	}, func() float64 { return float64(s.pool.Stat().EmptyAcquireCount()) }))
}

// Metrics are for a prometheus registry.
func (s *Store) Metrics() []prometheus.Collector {
	m := s.metrics
	return append([]prometheus.Collector{m.up, m.newest, m.commits, m.failed, m.writes, m.seconds}, m.pool...)
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
