package mesh

import (
	"math"
	"net/url"
)

// Tracing names where spans can go.
type Tracing struct {
	DefaultBackend string           `json:"defaultBackend,omitempty"` // of TrafficTraces that name none
	Backends       []TracingBackend `json:"backends,omitempty"`
}

// A TracingBackend collects spans.
type TracingBackend struct {
	Name     string       `json:"name"`
	Sampling *float64     `json:"sampling,omitempty"` // percent of the requests; default 100
	Type     string       `json:"type"`               // TraceZipkin, TraceDatadog
	Conf     *TracingConf `json:"conf,omitempty"`
}

// The types of a TracingBackend.
const (
	TraceZipkin  = "zipkin"
	TraceDatadog = "datadog"
)

// The versions of Zipkin's interface. ZipkinJSONV1 is understood, but Envoy
// does not speak it any more.
const (
	ZipkinJSONV1 = "httpJsonV1"
	ZipkinJSON   = "httpJson"
	ZipkinProto  = "httpProto"
)

// A TracingConf says where its backend is and how it is spoken to.
type TracingConf struct {
	// Of TraceZipkin.
	URL               string `json:"url,omitempty"` // with a port
	TraceID128Bit     bool   `json:"traceId128bit,omitempty"`
	APIVersion        string `json:"apiVersion,omitempty"`        // default ZipkinJSON
	SharedSpanContext *bool  `json:"sharedSpanContext,omitempty"` // both ends of a call are one span; default true
	// Of TraceDatadog.
	Address      string `json:"address,omitempty"`
	Port         uint32 `json:"port,omitempty"`
	SplitService bool   `json:"splitService,omitempty"` // calls in and out are services of their own
}

// Backend finds a backend by name, "" for the default one. It is nil where
// there is no such one.
func (t *Tracing) Backend(name string) *TracingBackend {
	if t == nil {
		return nil
	}
	if name == "" {
		name = t.DefaultBackend
	}
	for i := range t.Backends {
		if t.Backends[i].Name == name {
			return &t.Backends[i]
		}
	}
	return nil
}

// Percent is how many of the requests are sampled.
func (b *TracingBackend) Percent() float64 {
	if b.Sampling == nil {
		return 100
	}
	return *b.Sampling
}

func (t *Tracing) validate(path string) (v Violations) {
	if t == nil {
		return nil
	}
	names := backendNames{}
	for i := range t.Backends {
		b, at := &t.Backends[i], field(path, "backends", i)
		v = append(v, names.validate(at, b.Name)...)
		if p := b.Percent(); math.IsNaN(p) || p < 0 || p > 100 {
			v.Add(field(at, "sampling"), "must be a percentage from 0 to 100")
		}
		v = append(v, b.validateConf(at)...)
	}
	return append(v, names.validateChosen(field(path, "defaultBackend"), t.DefaultBackend)...)
}

func (b *TracingBackend) validateConf(at string) (v Violations) {
	c := TracingConf{}
	if b.Conf != nil {
		c = *b.Conf
	}
	conf := field(at, "conf")
	switch b.Type {
	case TraceZipkin:
		v = append(v, validateCollectorURL(field(conf, "url"), c.URL)...)
		v = append(v, oneOf(field(conf, "apiVersion"), c.APIVersion, ZipkinJSONV1, ZipkinJSON, ZipkinProto)...)
		v = append(v, foreign(field(conf, "address"), c.Address != "", TraceDatadog)...)
		v = append(v, foreign(field(conf, "port"), c.Port != 0, TraceDatadog)...)
		v = append(v, foreign(field(conf, "splitService"), c.SplitService, TraceDatadog)...)
	case TraceDatadog:
		v = append(v, foreign(field(conf, "url"), c.URL != "", TraceZipkin)...)
		v = append(v, foreign(field(conf, "traceId128bit"), c.TraceID128Bit, TraceZipkin)...)
		v = append(v, foreign(field(conf, "apiVersion"), c.APIVersion != "", TraceZipkin)...)
		v = append(v, foreign(field(conf, "sharedSpanContext"), c.SharedSpanContext != nil, TraceZipkin)...)
		v = append(v, validateHost(field(conf, "address"), c.Address)...)
		v = append(v, validatePort(field(conf, "port"), c.Port)...)
	case "":
		v.Add(field(at, "type"), "must not be empty; it is %s or %s", TraceZipkin, TraceDatadog)
	default:
		v = append(v, oneOf(field(at, "type"), b.Type, TraceZipkin, TraceDatadog)...)
	}
	return v
}

func validateCollectorURL(path, s string) (v Violations) {
	const like = `as in "http://zipkin.example.com:9411/api/v2/spans"`
	u, err := url.Parse(s)
	switch {
	case s == "":
		v.Add(path, "must not be empty; give scheme, host, port and path, %s", like)
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		v.Add(path, "%q is not a URL of http or https, %s", s, like)
	case u.User != nil || u.Fragment != "":
		v.Add(path, "must have neither user nor fragment, %s", like)
	case u.Port() == "":
		v.Add(path, "port has to be explicitly specified, %s", like)
	default:
		v = append(v, validateHost(path, u.Hostname())...)
		v = append(v, validatePort(path, portNumber(u.Port()))...)
	}
	return v
}
