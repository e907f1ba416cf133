package agent

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDataplaneTellsMetricsAndProbes(t *testing.T) {
	c := Config{
		Mesh: "default", Name: "web-1", Service: "web", Port: 8080, Protocol: "http",
		MetricsPort: 5671, Scrape: []string{"shop=9100", "jvm=[::1]:9101/m?format=text"},
		ProbePort: 9000, Probes: []string{"/web/healthz=/healthz"},
	}
	var got struct{ Metrics, Probes any }
	if err := json.Unmarshal(c.Dataplane(netip.MustParseAddr("192.0.2.1")), &got); err != nil {
		t.Fatal(err)
	}
	var want struct{ Metrics, Probes any }
	if err := json.Unmarshal([]byte(`{
		"metrics": {"type": "prometheus", "conf": {"port": 5671, "aggregate": [
			{"name": "shop", "port": 9100},
			{"name": "jvm", "address": "::1", "port": 9101, "path": "/m?format=text"}]}},
		"probes": {"port": 9000, "endpoints": [{"path": "/web/healthz", "inboundPort": 8080, "inboundPath": "/healthz"}]}
	}`), &want); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	plain := Config{Mesh: "default", Name: "web-1", Service: "web", Port: 8080, Protocol: "http"}
	if doc := string(plain.Dataplane(netip.MustParseAddr("192.0.2.1"))); strings.Contains(doc, "metrics") || strings.Contains(doc, "probes") {
		t.Errorf("nobody asked for metrics or probes: %s", doc)
	}
}

func TestMetricsAndProbesAreChecked(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		want   string // "" is well
	}{
		{func(c *Config) { c.Scrape = []string{"a=1", "b=192.0.2.1:65535/x/y"} }, ""},
		{func(c *Config) { c.Scrape = []string{"9100"} }, `scrape: "9100" is not NAME=`},
		{func(c *Config) { c.Scrape = []string{"=1"} }, `scrape: "=1" is not`},
		{func(c *Config) { c.Scrape = []string{"a=0"} }, `scrape: "a=0" is not`},
		{func(c *Config) { c.Scrape = []string{"a=65536/metrics"} }, `scrape: "a=65536/metrics" is not`},
		{func(c *Config) { c.ProbePort, c.Probes = 1, []string{"/a=/b"} }, ""},
		{func(c *Config) { c.Probes = []string{"/a=/b"} }, "probes: needs probePort"},
		{func(c *Config) { c.ProbePort, c.Probes = 1, []string{"a=/b"} }, `probes: "a=/b" is not`},
		{func(c *Config) { c.ProbePort, c.Probes, c.Gateway, c.Port = 1, []string{"/a=/b"}, true, 0 }, "probes: a gateway has none"},
		{func(c *Config) { c.ProbePort, c.MetricsPort = 5000, 5000 }, "probePort: 5000 is metricsPort too"},
		{func(c *Config) { c.MetricsCert = "/a" }, "metricsCert: needs metricsKey"},
	} {
		cfg := joined(t)
		c.change(&cfg)
		err := cfg.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}
