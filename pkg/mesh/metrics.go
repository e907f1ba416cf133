package mesh

import (
	"regexp"
	"strings"
)

// Metrics names how the mesh's proxies are scraped.
type Metrics struct {
	EnabledBackend string           `json:"enabledBackend,omitempty"` // "" turns it off
	Backends       []MetricsBackend `json:"backends,omitempty"`
}

// A MetricsBackend is one way to be scraped.
type MetricsBackend struct {
	Name string          `json:"name,omitempty"`
	Type string          `json:"type"` // MetricsPrometheus
	Conf *PrometheusConf `json:"conf,omitempty"`
}

// MetricsPrometheus is the one type of a MetricsBackend.
const MetricsPrometheus = "prometheus"

// A PrometheusConf says where a proxy answers, to whom, and with what. What is
// left out has its default, or in a Dataplane the mesh's value.
type PrometheusConf struct {
	Port      uint32        `json:"port,omitempty"`     // default 5670
	Path      string        `json:"path,omitempty"`     // default /metrics
	Tags      Tags          `json:"tags,omitempty"`     // by which permissions name it; default kuma.io/service: dataplane-metrics
	SkipMTLS  *bool         `json:"skipMTLS,omitempty"` // the older form of TLS.Mode
	Aggregate []Aggregate   `json:"aggregate,omitempty"`
	Envoy     *EnvoyMetrics `json:"envoy,omitempty"`
	TLS       *MetricsTLS   `json:"tls,omitempty"`
}

// An Aggregate is an application of the host whose metrics are joined to the
// proxy's.
type Aggregate struct {
	Name    string `json:"name"`
	Port    uint32 `json:"port,omitempty"`
	Path    string `json:"path,omitempty"`    // default /metrics
	Enabled *bool  `json:"enabled,omitempty"` // default true
	Address string `json:"address,omitempty"` // default: the host's loopback
}

// EnvoyMetrics narrows what Envoy tells of itself.
type EnvoyMetrics struct {
	FilterRegex string `json:"filterRegex,omitempty"` // RE2, somewhere in the name
	UsedOnly    *bool  `json:"usedOnly,omitempty"`    // only what was ever counted
}

// MetricsTLS says how scrapers are spoken to.
type MetricsTLS struct {
	Mode string `json:"mode,omitempty"`
}

// The modes of MetricsTLS.
const (
	MetricsMTLS     = "activeMTLSBackend" // the mesh's mTLS, where it has one (default)
	MetricsProvided = "providedTLS"       // a certificate of the host's own
	MetricsPlain    = "disabled"
)

// What a scraped proxy has where nobody says otherwise.
const (
	MetricsPort    = 5670
	MetricsPath    = "/metrics"
	MetricsService = "dataplane-metrics"
)

// Bounds that keep a scrape and what describes it small.
const (
	maxAggregates  = 16
	maxURLPath     = 256  // bytes
	maxFilterRegex = 1024 // bytes
)

// Backend returns the backend in force, nil where metrics are off.
func (m *Metrics) Backend() *MetricsBackend {
	if m == nil || m.EnabledBackend == "" {
		return nil
	}
	for i := range m.Backends {
		if m.Backends[i].Name == m.EnabledBackend {
			return &m.Backends[i]
		}
	}
	return nil
}

func (m *Metrics) validate(path string) (v Violations) {
	if m == nil {
		return nil
	}
	names := backendNames{}
	for i := range m.Backends {
		b, at := &m.Backends[i], field(path, "backends", i)
		v = append(v, names.validate(at, b.Name)...)
		v = append(v, b.validate(at)...)
		if b.Conf != nil {
			for j, a := range b.Conf.Aggregate {
				if a.Port == 0 {
					v.Add(field(at, "conf.aggregate", j, "port"), "port must be in the range [1, 65535]")
				}
			}
		}
	}
	return append(v, names.validateChosen(field(path, "enabledBackend"), m.EnabledBackend)...)
}

// validate checks what a mesh's backend and a dataplane's override have alike.
func (b *MetricsBackend) validate(path string) (v Violations) {
	if b.Type == "" {
		v.Add(field(path, "type"), "must not be empty; it is %s", MetricsPrometheus)
	}
	v = append(v, oneOf(field(path, "type"), b.Type, MetricsPrometheus)...)
	c, path := b.Conf, field(path, "conf")
	if c == nil {
		return v
	}
	v = append(v, validateOptionalPort(field(path, "port"), c.Port)...)
	v = append(v, validateURLPath(field(path, "path"), c.Path)...)
	if strings.Contains(c.Path, "?") {
		v.Add(field(path, "path"), `must not have a query: what is asked for is a path alone`)
	}
	v = append(v, validateTags(field(path, "tags"), c.Tags, false)...)
	v = append(v, validateAggregates(field(path, "aggregate"), c.Aggregate)...)
	if e := c.Envoy; e != nil {
		at := field(path, "envoy.filterRegex")
		if len(e.FilterRegex) > maxFilterRegex {
			v.Add(at, "must have at most %d bytes, has %d", maxFilterRegex, len(e.FilterRegex))
		} else if _, err := regexp.Compile(e.FilterRegex); err != nil {
			v.Add(at, "is not a regular expression (RE2): %s", err)
		}
	}
	if c.TLS != nil {
		v = append(v, oneOf(field(path, "tls.mode"), c.TLS.Mode, MetricsMTLS, MetricsProvided, MetricsPlain)...)
	}
	return v
}

func validateAggregates(path string, all []Aggregate) (v Violations) {
	if len(all) > maxAggregates {
		v.Add(path, "must have at most %d entries, has %d", maxAggregates, len(all))
		return v
	}
	names := backendNames{}
	for i, a := range all {
		at := field(path, i)
		v = append(v, names.validate(at, a.Name)...)
		if len(a.Name) > 63 {
			v.Add(field(at, "name"), "must have at most 63 characters, has %d", len(a.Name))
		}
		v = append(v, validateOptionalPort(field(at, "port"), a.Port)...)
		v = append(v, validateURLPath(field(at, "path"), a.Path)...)
		if a.Address != "" {
			v = append(v, validateHost(field(at, "address"), a.Address)...)
		}
	}
	return v
}

// validateURLPath accepts "" as the default. A path stands in Envoy's
// configuration and in requests, so it has to be one as it is.
func validateURLPath(path, s string) (v Violations) {
	switch {
	case s == "":
	case len(s) > maxURLPath:
		v.Add(path, "must have at most %d characters, has %d", maxURLPath, len(s))
	case !strings.HasPrefix(s, "/"):
		v.Add(path, `must begin with "/"`)
	case !urlPath.MatchString(s):
		v.Add(path, `%q must consist of letters, digits and -._~!$&'()*+,;=:@/?%%`, s)
	}
	return v
}

var urlPath = regexp.MustCompile(`^/[A-Za-z0-9\-._~!$&'()*+,;=:@/?%]*$`)
