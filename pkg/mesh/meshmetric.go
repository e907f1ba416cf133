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
func (s *MeshMetric) Validate() (v Violations) { return nil }
