package mesh

import (
	"net/url"
	"strings"
)

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
func (s *MeshTrace) Validate() (v Violations) {
	return s.Spec.validate(refs{top: chosenOrGateway}, func(path string, c *MeshTraceConf) Violations { return c.validate(path) })
}

func (c *MeshTraceConf) validate(path string) (v Violations) {
	if n := len(c.Backends); n > 1 {
		v.Add(field(path, "backends"), "must have at most one backend, has %d", n)
	}
	for i := range c.Backends {
		v = append(v, c.Backends[i].validate(field(path, "backends", i))...)
	}
	if t, at := c.Sampling, field(path, "sampling"); t != nil {
		v = append(v, validatePercentText(field(at, "overall"), t.Overall)...)
		v = append(v, validatePercentText(field(at, "client"), t.Client)...)
		v = append(v, validatePercentText(field(at, "random"), t.Random)...)
	}
	for i, t := range c.Tags {
		at := field(path, "tags", i)
		v = append(v, notEmpty(field(at, "name"), t.Name)...)
		v = append(v, exactlyOne(at, map[string]bool{"literal": t.Literal != "", "header": t.Header != nil})...)
		if t.Header != nil {
			v = append(v, validateHeaderName(field(at, "header.name"), t.Header.Name)...)
		}
	}
	return v
}

func (b *TraceBackend) validate(path string) (v Violations) {
	v = append(v, oneByType(path, b.Type, []part{
		{"Zipkin", "zipkin", b.Zipkin != nil, true},
		{"Datadog", "datadog", b.Datadog != nil, true},
		{"OpenTelemetry", "openTelemetry", b.OpenTelemetry != nil, true},
	})...)
	if z, at := b.Zipkin, field(path, "zipkin"); z != nil {
		v = append(v, validateCollectorURL(field(at, "url"), z.URL)...)
		v = append(v, oneOf(field(at, "apiVersion"), z.APIVersion, "httpJson", "httpProto")...)
	}
	if d, at := b.Datadog, field(path, "datadog.url"); d != nil {
		v = append(v, validateCollectorURL(at, d.URL)...)
		if u, err := url.Parse(d.URL); err == nil && strings.Trim(u.Path, "/") != "" {
			v.Add(at, "must have no path, as in http://192.0.2.1:8126")
		}
	}
	if o := b.OpenTelemetry; o != nil {
		v = append(v, validateCollector(field(path, "openTelemetry"), o.Endpoint, o.BackendRef)...)
	}
	return v
}
