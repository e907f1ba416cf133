package xds

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	connected prometheus.GaugeFunc
	responses *prometheus.CounterVec
	refusals  *prometheus.CounterVec
	panics    prometheus.Counter
}

func newMetrics(connected func() float64) metrics {
	return metrics{
		connected: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weft_xds_connected_proxies", Help: "Proxies that have a stream.",
		}, connected),
		responses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weft_xds_pushes_total", Help: "Responses sent to proxies, by type of resource.",
		}, []string{"type"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weft_xds_nacks_total", Help: "Responses that a proxy refused, by type of resource.",
		}, []string{"type"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weft_xds_panics_total", Help: "Streams that ended in a panic. Each is a bug.",
		}),
	}
}

func (m metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.connected, m.responses, m.refusals, m.panics}
}
