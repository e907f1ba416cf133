package proxy

import "net/netip"

// Metrics say where the proxy is scraped, and by whom.
type Metrics struct {
	Listen netip.AddrPort    `json:"listen"`
	Path   string            `json:"path"`
	Tags   map[string]string `json:"tags,omitempty"`   // by which permissions name it
	TLS    string            `json:"tls"`              // MetricsMesh, MetricsProvided, MetricsPlain
	Access *Access           `json:"access,omitempty"` // of MetricsMesh; who is on the host itself is let in always
	Scrape Scrape            `json:"scrape"`
}

// How scrapers are spoken to.
const (
	MetricsMesh     = "mesh"     // mTLS of the mesh
	MetricsProvided = "provided" // TLS with MetricsSecret
	MetricsPlain    = "plain"
)

// A Scrape says what is joined into the answer. The proxy hands it to the agent
// with every request, as JSON in ScrapeHeader.
type Scrape struct {
	Filter       string        `json:"filter,omitempty"`   // RE2: which of the proxy's own metrics; "" all
	UsedOnly     bool          `json:"usedOnly,omitempty"` // only those that ever counted
	Applications []Application `json:"applications,omitempty"`
}

// An Application is a program on the host that tells metrics of its own.
type Application struct {
	Name    string `json:"name"`
	Address string `json:"address,omitempty"` // an IP address or DNS name; "" is loopback
	Port    uint16 `json:"port"`
	Path    string `json:"path"` // with its query
}

// ScrapeHeader carries a Scrape from the proxy to the agent.
const ScrapeHeader = "x-weft-scrape"

// The clusters of the bootstrap that are the agent, beside SDSCluster. A bare
// Envoy that is to log or to be scraped brings clusters of these names itself.
const (
	LogsCluster    = "weft_logs"    // takes access logs: OTLP by gRPC
	MetricsCluster = "weft_metrics" // answers scrapes: HTTP/1.1
)

// MetricsSecret is the SDS name of the certificate for MetricsProvided. Like the
// workload's it comes from the agent, on hosts that have one.
const MetricsSecret = "weft_metrics_cert"
