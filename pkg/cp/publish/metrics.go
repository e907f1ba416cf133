package publish

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	replans  prometheus.Counter
	failures prometheus.Counter
	seconds  prometheus.Histogram
}

func newMetrics() metrics {
	return metrics{
		replans: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weft_publish_replans_total", Help: "Plans made for connected proxies.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weft_publish_failures_total", Help: "Plans that failed; the proxy kept what it had.",
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "weft_publish_seconds", Help: "From a change to its publication for every connected proxy.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16), // 0.5 ms to 16 s
		}),
	}
}

func (m metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.replans, m.failures, m.seconds}
}
