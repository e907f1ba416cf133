package accesslog

import "github.com/prometheus/client_golang/prometheus"

var (
	linesDesc = prometheus.NewDesc("weft_access_log_lines_total",
		"Lines of Envoy's access logs, by destination: sent, or dropped as it did not take them.", []string{"sink", "result"}, nil)
	queuedDesc = prometheus.NewDesc("weft_access_log_queued_bytes",
		"Lines that wait for their destination, in bytes.", []string{"sink"}, nil)
	failingDesc = prometheus.NewDesc("weft_access_log_failing",
		"1 while nothing can be written to the destination.", []string{"sink"}, nil)
	refusedDesc = prometheus.NewDesc("weft_access_log_refused_lines_total",
		"Lines that were dropped as they had no destination.", nil, nil)
)

// Describe implements prometheus.Collector.
func (s *Server) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{linesDesc, queuedDesc, failingDesc, refusedDesc} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (s *Server) Collect(to chan<- prometheus.Metric) {
	tell := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	for _, k := range s.Status() {
		failing := 0.0
		if !k.Failing.IsZero() {
			failing = 1
		}
		tell(linesDesc, prometheus.CounterValue, float64(k.Sent), k.Sink, "sent")
		tell(linesDesc, prometheus.CounterValue, float64(k.Dropped), k.Sink, "dropped")
		tell(queuedDesc, prometheus.GaugeValue, float64(k.Queued), k.Sink)
		tell(failingDesc, prometheus.GaugeValue, failing, k.Sink)
	}
	s.mu.Lock()
	refused := s.refused
	s.mu.Unlock()
	tell(refusedDesc, prometheus.CounterValue, float64(refused))
}
