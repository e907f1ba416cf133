package replica

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	leader, epoch, replicas, elsewhere prometheus.GaugeFunc

	failed prometheus.Counter
	duties *prometheus.CounterVec
}

func newMetrics(g *Group) metrics {
	gauge := func(name, help string, read func() float64) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read)
	}
	return metrics{
		leader: gauge("weft_replica_leader", "1 while this replica leads.", func() float64 {
			if g.Leader() {
				return 1
			}
			return 0
		}),
		epoch: gauge("weft_replica_epoch", "Epoch of this replica's leadership, greater than that of every leader before; 0 while it does not lead.", func() float64 {
			g.mu.Lock()
			defer g.mu.Unlock()
			return float64(g.epoch)
		}),
		replicas: gauge("weft_replicas", "Replicas that are heard of, this one included.", func() float64 { return float64(len(g.Replicas())) }),
		elsewhere: gauge("weft_replica_proxies_elsewhere", "Proxies whose streams other replicas have.", func() float64 {
			g.mu.Lock()
			defer g.mu.Unlock()
			return float64(len(g.insights))
		}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weft_replica_failed_beats_total", Help: "Exchanges with other replicas that failed; there is one each second.",
		}),
		duties: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weft_replica_duties_total", Help: "Duties of the leader that were done, by name and outcome.",
		}, []string{"duty", "outcome"}),
	}
}

// Metrics are for a prometheus registry.
func (g *Group) Metrics() []prometheus.Collector {
	m := g.metrics
	return []prometheus.Collector{m.leader, m.epoch, m.replicas, m.elsewhere, m.failed, m.duties}
}
