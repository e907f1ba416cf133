//go:build linux

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/weft-mesh/weft/internal/testmesh"
)

// scraped are the metrics of one answer, by name.
type scraped map[string]*dto.MetricFamily

// value returns a metric that has all of labels, as name, value.
func (s scraped) value(name string, labels ...string) (float64, bool) {
next:
	for _, m := range s[name].GetMetric() {
		have := map[string]string{}
		for _, l := range m.GetLabel() {
			have[l.GetName()] = l.GetValue()
		}
		for i := 0; i < len(labels); i += 2 {
			if have[labels[i]] != labels[i+1] {
				continue next
			}
		}
		return m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue(), true
	}
	return 0, false
}

// scrape asks as Prometheus does, from a host, with curl's arguments.
func scrape(t *testing.T, h interface {
	TryRun(testing.TB, string, ...string) (string, error)
}, args ...string) (scraped, error) {
	t.Helper()
	out, err := h.TryRun(t, "curl", append([]string{"--silent", "--show-error", "--fail", "--compressed", "--max-time", "5"}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("%w: %.300s", err, out)
	}
	p := expfmt.NewTextParser(model.LegacyValidation)
	families, err := p.TextToMetricFamilies(strings.NewReader(out))
	return families, err
}

// ownCertificate makes a certificate for an address, in files.
func ownCertificate(t *testing.T, ip net.IP) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "web"}, IPAddresses: []net.IP{ip}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// withoutMetrics takes a dataplane's own metrics out of its document.
func withoutMetrics(doc string) string {
	before, after, _ := strings.Cut(doc, "metrics:\n")
	for strings.HasPrefix(after, " ") || strings.HasPrefix(after, "-") {
		_, after, _ = strings.Cut(after, "\n")
	}
	return before + after
}

func TestMetrics(t *testing.T) {
	t.Parallel() // it waits most of the time
	m := testmesh.New(t)
	web := m.NewHost(t, "web")
	cert, key := ownCertificate(t, web.IP4.AsSlice())
	web.JoinMesh(t, m.JoinToken(t, "web"), "--metrics-cert", cert, "--metrics-key", key, "--scrape", "batch=9102/own")
	web.StartAgent(t)
	web.WaitWell(t)
	// Every port of api is redirected, these two as well.
	api := m.Join(t, "api", "--inbound", "all", "--probe-port", "9000", "--probes", "/api/healthz=/healthz")
	outside := m.Net.Host("outside")
	testmesh.Serve(t, api.Host, "127.0.0.1:8080", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.URL.Path+" "+r.Header.Get("x-forwarded-client-cert"))
	}))
	testmesh.Serve(t, web.Host, "127.0.0.1:9100", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "# TYPE orders_total counter\norders_total{shop=\"a\"} 7\n")
	}))
	testmesh.Serve(t, web.Host, "127.0.0.1:9102", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "batch_runs{path=%q} 3\n", r.URL.Path)
	}))
	m.Allow(t, "web", "api")
	web.WaitAnswer(t, "http://api.mesh/")
	calls := web.Transport(t, "api.mesh")
	at := func(h *testmesh.Host, scheme string) string {
		return fmt.Sprintf("%s://%s:5670/metrics", scheme, h.IP4)
	}
	metrics := func(t *testing.T, conf string) {
		t.Helper()
		meshWith(t, m, fmt.Sprintf("metrics: {enabledBackend: p, backends: [{name: p, type: prometheus, conf: {%s}}]}\n", conf))
	}
	load := testmesh.StartLoad(t, calls, "http://api.mesh/load", 100)

	t.Run("plain, from another host, with what an application tells", func(t *testing.T) {
		metrics(t, "skipMTLS: true, aggregate: [{name: shop, port: 9100}, {name: gone, port: 9101}]")
		testmesh.Eventually(t, "web is scraped", func() error {
			s, err := scrape(t, outside, at(web, "http"))
			if err != nil {
				return err
			}
			for _, want := range []struct {
				name   string
				labels []string
				value  float64
			}{
				{"orders_total", []string{"shop", "a", "weft_application", "shop"}, 7},
				{"batch_runs", []string{"path", "/own", "weft_application", "batch"}, 3},
				{"weft_scrape_application_up", []string{"weft_application", "shop"}, 1},
				{"weft_scrape_application_up", []string{"weft_application", "gone"}, 0},
				{"weft_scrape_envoy_up", nil, 1},
				{"weft_agent_control_plane_connected", nil, 1},
				{"weft_agent_grace", nil, 0},
				{"weft_agent_not_on_disk", nil, 0},
				{"weft_agent_refused_resources", nil, 0},
				{"weft_agent_envoy_out_of_memory", nil, 0},
			} {
				if v, ok := s.value(want.name, want.labels...); !ok || v != want.value {
					t.Errorf("%s%v is %v (there: %v), want %v", want.name, want.labels, v, ok, want.value)
				}
			}
			return nil
		})
	})
	t.Run("a scraper does not say what is joined", func(t *testing.T) {
		s, err := scrape(t, outside, "-H", `x-weft-scrape: {"filter":"none","applications":[{"name":"evil","port":22,"path":"/"}]}`, at(web, "http"))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := s.value("weft_scrape_application_up", "weft_application", "evil"); ok {
			t.Error("the agent asked what a scraper named")
		}
		if _, ok := s.value("weft_scrape_application_up", "weft_application", "shop"); !ok {
			t.Error("the agent does not ask what the mesh names any more")
		}
	})
	t.Run("what is counted is what was called", func(t *testing.T) {
		count := func() float64 {
			s, err := scrape(t, outside, at(web, "http"))
			if err != nil {
				t.Fatal(err)
			}
			v, ok := s.value("envoy_cluster_upstream_rq", "envoy_cluster_name", "api", "envoy_response_code", "200")
			if !ok {
				t.Fatal("calls of api are not counted")
			}
			return v
		}
		before := count()
		if answers := testmesh.Call(t, calls, "http://api.mesh/", 300); answers["200"] != 300 {
			t.Errorf("answers %v", answers)
		}
		// The load goes on beside.
		if after := count(); after < before+300 {
			t.Errorf("%v calls are counted, then %v, and there were at least 300", before, after)
		}
	})
	t.Run("filtered, on a dataplane of which the mesh asks otherwise", func(t *testing.T) {
		doc := m.Ctl(t, "get", "dataplane", "web-1", "-o", "yaml")
		m.Apply(t, withoutMetrics(doc)+"metrics: {type: prometheus, conf: {port: 5671, path: /own, envoy: {filterRegex: 'http\\..*rq_total', usedOnly: true}, aggregate: [{name: gone, enabled: false}]}}\n")
		testmesh.Eventually(t, "it is scraped elsewhere", func() error {
			s, err := scrape(t, outside, fmt.Sprintf("http://%s:5671/own", web.IP4))
			if err != nil {
				return err
			}
			if _, ok := s.value("orders_total"); !ok {
				t.Error("the mesh's application is gone")
			}
			if _, ok := s.value("weft_scrape_application_up", "weft_application", "gone"); ok {
				t.Error("the application that was turned off is there")
			}
			for name := range s {
				if strings.HasPrefix(name, "envoy_") && !strings.HasSuffix(name, "rq_total") {
					t.Errorf("%s passed the filter", name)
				}
			}
			return nil
		})
		if _, err := scrape(t, outside, at(web, "http")); err == nil {
			t.Error("it answers where it did before, too")
		}
		if _, err := scrape(t, outside, at(api, "http")); err != nil {
			t.Errorf("the other dataplane: %v", err)
		}
		m.Apply(t, doc)
	})
	t.Run("by mTLS, whom a permission names", func(t *testing.T) {
		metrics(t, "")
		prometheus := m.Join(t, "prometheus")
		// Prometheus shows the certificate of its host.
		state := filepath.Join(prometheus.Dir, "state")
		mtls := []string{"--insecure", "--cert", filepath.Join(state, "workload.pem"), "--key", filepath.Join(state, "workload.pem"), at(web, "https")}
		testmesh.Eventually(t, "plain scrapes are over", func() error {
			if _, err := scrape(t, outside, at(web, "http")); err == nil {
				return errors.New("still answered")
			}
			return nil
		})
		if s, err := scrape(t, prometheus, mtls...); err == nil {
			t.Errorf("answered %d metrics without a permission", len(s))
		}
		m.Allow(t, "prometheus", "dataplane-metrics")
		testmesh.Eventually(t, "prometheus scrapes", func() error {
			_, err := scrape(t, prometheus, mtls...)
			return err
		})
		if s, err := scrape(t, outside, "--insecure", at(web, "https")); err == nil {
			t.Errorf("answered %d metrics to nobody", len(s))
		}
		if _, err := scrape(t, web, at(web, "http")); err != nil {
			t.Errorf("from the host itself: %v", err)
		}
	})
	t.Run("by TLS of the host's own, and on a host without to nobody", func(t *testing.T) {
		metrics(t, "tls: {mode: providedTLS}")
		testmesh.Eventually(t, "web is scraped", func() error {
			_, err := scrape(t, outside, "--cacert", cert, at(web, "https"))
			return err
		})
		for _, scheme := range []string{"http", "https"} {
			if _, err := scrape(t, outside, "--insecure", at(api, scheme)); err == nil {
				t.Errorf("api has no certificate and answers %s", scheme)
			}
		}
		api.WaitWell(t)
	})
	t.Run("pages that an orchestrator outside asks for", func(t *testing.T) {
		probe := func(path string) (string, error) {
			return outside.TryRun(t, "curl", "--silent", "--fail", "--max-time", "5", "--path-as-is",
				"-H", "x-forwarded-client-cert: URI=spiffe://default/admin", fmt.Sprintf("http://%s:9000%s", api.IP4, path))
		}
		testmesh.Eventually(t, "the page is there", func() error {
			out, err := probe("/api/healthz")
			if err == nil && out != "/healthz " {
				t.Errorf("the workload saw %q", out)
			}
			return err
		})
		for _, path := range []string{"/", "/healthz", "/api/healthz/", "/api/healthz/x", "/api/healthz/../x"} {
			if out, err := probe(path); err == nil {
				t.Errorf("%s was answered: %s", path, out)
			}
		}
	})
	if answers := load.Stop(); answers["200"] != answers.Total() || answers.Total() < 100 {
		t.Errorf("answers meanwhile: %v", answers)
	}
}
