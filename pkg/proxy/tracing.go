package proxy

// Tracing has a proxy report a span of every request that it passes on, in
// both directions, to one collector.
type Tracing struct {
	From      Origin   `json:"from,omitzero"`
	Backend   string   `json:"backend"`   // of the mesh's tracing
	Sampling  float64  `json:"sampling"`  // percent of the requests
	Cluster   string   `json:"cluster"`   // where the collector is, one of Config.Clusters
	Collector string   `json:"collector"` // what it is called as, host:port
	Zipkin    *Zipkin  `json:"zipkin,omitempty"`
	Datadog   *Datadog `json:"datadog,omitempty"`
}

// Zipkin is a collector that speaks Zipkin's version 2.
type Zipkin struct {
	Path       string `json:"path"`                 // with its query
	TraceID128 bool   `json:"traceID128,omitempty"` // else 64 bits
	Protobuf   bool   `json:"protobuf,omitempty"`   // else JSON
	Shared     bool   `json:"shared,omitempty"`     // both ends of a call report one span
}

// Datadog is a Datadog agent.
type Datadog struct {
	Service string `json:"service"`
	Split   bool   `json:"split,omitempty"` // calls in and out are services of their own
}
