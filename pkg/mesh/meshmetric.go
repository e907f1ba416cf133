package mesh

// A MeshMetric has proxies show what they and their workloads measure.
type MeshMetric struct {
	Spec Whole[MeshMetricConf] `json:"spec"`
}

// A MeshMetricConf says what is shown to whom.
type MeshMetricConf struct {
	Sidecar      *SidecarMetrics      `json:"sidecar,omitempty"`
	Applications []ApplicationMetrics `json:"applications,omitempty"`
	Backends     []MetricBackend      `json:"backends,omitempty"`
}

// SidecarMetrics are which of the proxy's own figures are shown.
type SidecarMetrics struct {
	Profiles      *MetricProfiles `json:"profiles,omitempty"`
	IncludeUnused *bool           `json:"includeUnused,omitempty"` // figures that never moved; default false
}

// MetricProfiles are sets of figures, then what is taken from them and what is
// added in spite of that.
type MetricProfiles struct {
	AppendProfiles []MetricProfile  `json:"appendProfiles,omitempty"`
	Exclude        []MetricSelector `json:"exclude,omitempty"`
	Include        []MetricSelector `json:"include,omitempty"`
}

// A MetricProfile is a set of figures.
type MetricProfile struct {
	Name string `json:"name,omitempty"` // All, Basic, None
}

// A MetricSelector picks figures by their name.
type MetricSelector struct {
	Type  string `json:"type,omitempty"` // Prefix, Regex, Exact, Contains
	Match string `json:"match,omitempty"`
}

// ApplicationMetrics are those of a workload, fetched from it.
type ApplicationMetrics struct {
	Name    string `json:"name,omitempty"`
	Path    string `json:"path,omitempty"`    // default "/metrics"
	Address string `json:"address,omitempty"` // default: the dataplane's
	Port    uint32 `json:"port,omitempty"`
}

// A MetricBackend is the one field that its type names.
type MetricBackend struct {
	Type          string             `json:"type,omitempty"` // Prometheus, OpenTelemetry
	Prometheus    *PrometheusMetrics `json:"prometheus,omitempty"`
	OpenTelemetry *OTelMetrics       `json:"openTelemetry,omitempty"`
}

// PrometheusMetrics are scraped from the proxy.
type PrometheusMetrics struct {
	ClientID string       `json:"clientId,omitempty"`
	Port     uint32       `json:"port,omitempty"` // default 5670
	Path     string       `json:"path,omitempty"` // default "/metrics"
	TLS      *ScrapingTLS `json:"tls,omitempty"`
}

// ScrapingTLS is who may scrape.
type ScrapingTLS struct {
	Mode string `json:"mode,omitempty"` // Disabled, ProvidedTLS, ActiveMTLSBackend
}

// OTelMetrics are sent to a collector of OpenTelemetry.
type OTelMetrics struct {
	Endpoint        string          `json:"endpoint,omitempty"`        // host:port; or backendRef
	BackendRef      *OTelBackendRef `json:"backendRef,omitempty"`      // a MeshOpenTelemetryBackend
	RefreshInterval string          `json:"refreshInterval,omitempty"` // default 1m
}

// Validate tells everything that is wrong with it.
func (s *MeshMetric) Validate() (v Violations) {
	return s.Spec.validate(refs{top: chosenOrGateway}, func(path string, c *MeshMetricConf) Violations { return c.validate(path) })
}

func (c *MeshMetricConf) validate(path string) (v Violations) {
	if c.Sidecar != nil {
		v = append(v, c.Sidecar.Profiles.validate(field(path, "sidecar.profiles"))...)
	}
	for i, a := range c.Applications {
		at := field(path, "applications", i)
		v = append(v, validateURLPath(field(at, "path"), a.Path)...)
		v = append(v, validateIP(field(at, "address"), a.Address)...)
		v = append(v, validatePort(field(at, "port"), a.Port)...)
	}
	for i := range c.Backends {
		b, at := &c.Backends[i], field(path, "backends", i)
		v = append(v, oneByType(at, b.Type, []part{
			{"Prometheus", "prometheus", b.Prometheus != nil, true},
			{"OpenTelemetry", "openTelemetry", b.OpenTelemetry != nil, true},
		})...)
		if p, at := b.Prometheus, field(at, "prometheus"); p != nil {
			v = append(v, validateOptionalPort(field(at, "port"), p.Port)...)
			v = append(v, validateURLPath(field(at, "path"), p.Path)...)
			if p.TLS != nil {
				v = append(v, oneOf(field(at, "tls.mode"), p.TLS.Mode, "Disabled", "ProvidedTLS", "ActiveMTLSBackend")...)
			}
		}
		if o, at := b.OpenTelemetry, field(at, "openTelemetry"); o != nil {
			v = append(v, validateCollector(at, o.Endpoint, o.BackendRef)...)
			v = append(v, validateDuration(field(at, "refreshInterval"), o.RefreshInterval)...)
		}
	}
	return v
}

func (p *MetricProfiles) validate(path string) (v Violations) {
	if p == nil {
		return nil
	}
	for i, a := range p.AppendProfiles {
		v = append(v, listed(field(path, "appendProfiles", i, "name"), a.Name, []string{"All", "Basic", "None"})...)
	}
	for _, l := range []struct {
		name string
		of   []MetricSelector
	}{{"exclude", p.Exclude}, {"include", p.Include}} {
		for i, m := range l.of {
			at := field(path, l.name, i)
			v = append(v, listed(field(at, "type"), m.Type, []string{"Prefix", "Regex", "Exact", "Contains"})...)
			v = append(v, notEmpty(field(at, "match"), m.Match)...)
			if m.Type == "Regex" {
				v = append(v, validateRegex(field(at, "match"), m.Match)...)
			}
		}
	}
	return v
}
