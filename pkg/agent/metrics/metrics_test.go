package metrics

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/internal/testtime"
	"github.com/weft-mesh/weft/pkg/proxy"
)

const envoyText = `# TYPE envoy_requests counter
envoy_requests{cluster="a"} 1
envoy_requests{cluster="b"} 2
# TYPE envoy_connections gauge
envoy_connections{} 3
`

// A host is a server with an Envoy and applications that say what the test
// wants.
type host struct {
	*Server
	envoy func(filter string, usedOnly bool) (io.ReadCloser, error)
	own   *prometheus.Registry
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{own: prometheus.NewRegistry()}
	h.envoy = func(string, bool) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(envoyText)), nil }
	h.Server = New(Config{
		Envoy: func(_ context.Context, filter string, usedOnly bool) (io.ReadCloser, error) {
			return h.envoy(filter, usedOnly)
		},
		Own:  h.own,
		Dial: new(net.Dialer).DialContext,
		Log:  slog.New(slog.DiscardHandler),
	})
	t.Cleanup(h.apps.CloseIdleConnections)
	return h
}

// application serves a handler on loopback.
func application(t *testing.T, name string, handler http.HandlerFunc) proxy.Application {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	at := netip.MustParseAddrPort(s.Listener.Addr().String())
	return proxy.Application{Name: name, Address: at.Addr().String(), Port: at.Port(), Path: "/metrics"}
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

// scrapes asks as Envoy does, with further headers as name, value.
func (h *host) scrapes(t *testing.T, what proxy.Scrape, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	said, err := json.Marshal(what)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	r.Header.Set(proxy.ScrapeHeader, string(said))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// answers scrapes, sees to it that scrapers understand the answer, and returns
// it without what takes another time each time.
func (h *host) answers(t *testing.T, apps ...proxy.Application) string {
	t.Helper()
	w := h.scrapes(t, proxy.Scrape{Applications: apps})
	if w.Code != http.StatusOK {
		t.Fatalf("answered %d: %s", w.Code, w.Body)
	}
	return settled(t, w.Body.String())
}

func settled(t *testing.T, text string) string {
	t.Helper()
	p := expfmt.NewTextParser(model.LegacyValidation)
	if _, err := p.TextToMetricFamilies(strings.NewReader(text)); err != nil {
		t.Errorf("scrapers do not understand it: %v\n%s", err, text)
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.Contains(line, "duration_seconds") && !strings.HasPrefix(line, "# HELP weft_scrape") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestJoined(t *testing.T) {
	h := newHost(t)
	own := prometheus.NewCounter(prometheus.CounterOpts{Name: "weft_own_total", Help: "The agent's."})
	h.own.MustRegister(own)
	shop := application(t, "shop", says(`# HELP orders_total Orders,
# TYPE orders_total counter
orders_total{kind="x",weft_application="liar"} 5
orders_total{kind="y"} 6 1700000000000
# TYPE took histogram
took_bucket{le="1"} 1
took_bucket{le="+Inf"} 2
took_sum 3
took_count 2
untold 7
`))
	// It is written with the same library, and one name of it has another type;
	// it knows a name of Envoy's, and one that Envoy has with another type; and
	// it would tell of the scrape itself.
	cart := application(t, "cart", says(`# TYPE orders_total counter
orders_total 8
# TYPE took gauge
took 9
# TYPE envoy_requests counter
envoy_requests{cluster="c"} 10
# TYPE envoy_connections counter
envoy_connections 11
# TYPE weft_scrape_application_up gauge
weft_scrape_application_up 12
`))
	want := `# TYPE envoy_requests counter
envoy_requests{cluster="a"} 1
envoy_requests{cluster="b"} 2
envoy_requests{cluster="c",weft_application="cart"} 10
# TYPE envoy_connections gauge
envoy_connections{} 3
# HELP orders_total Orders,
# TYPE orders_total counter
orders_total{kind="x",weft_application="shop"} 5
orders_total{kind="y",weft_application="shop"} 6 1700000000000
orders_total{weft_application="cart"} 8
# TYPE took histogram
took_bucket{weft_application="shop",le="1"} 1
took_bucket{weft_application="shop",le="+Inf"} 2
took_sum{weft_application="shop"} 3
took_count{weft_application="shop"} 2
# TYPE untold untyped
untold{weft_application="shop"} 7
# HELP weft_own_total The agent's.
# TYPE weft_own_total counter
weft_own_total 0
# TYPE weft_scrape_application_dropped_families gauge
weft_scrape_application_dropped_families{weft_application="shop"} 0
weft_scrape_application_dropped_families{weft_application="cart"} 3
# TYPE weft_scrape_application_up gauge
weft_scrape_application_up{weft_application="shop"} 1
weft_scrape_application_up{weft_application="cart"} 1
# TYPE weft_scrape_envoy_up gauge
weft_scrape_envoy_up 1
`
	if d := cmp.Diff(want, h.answers(t, shop, cart)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// An application that does not tell fails for itself alone.
func TestApplicationsThatFail(t *testing.T) {
	h := newHost(t)
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	nobody, err := net.Listen("tcp", "127.7.7.2:0") // an address of its own: on 127.0.0.1 somebody else may soon have the port
	if err != nil {
		t.Fatal(err)
	}
	gone := netip.MustParseAddrPort(nobody.Addr().String())
	if err := nobody.Close(); err != nil {
		t.Fatal(err)
	}
	well := application(t, "well", says("fine 1\n"))
	elsewhere := application(t, "elsewhere", says("secret 1\n"))
	late := func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}
	apps := []proxy.Application{
		well,
		application(t, "page", says("<html>not found</html>\n")),
		application(t, "half", says("good 1\nbad{x=\n")),
		application(t, "names", says("{\"a.b\", x=\"y\"} 1\n")),
		application(t, "long", func(w http.ResponseWriter, _ *http.Request) {
			line := bytes.Repeat([]byte("# x\n"), 1<<18)
			for range maxApplication>>20 + 1 {
				_, _ = w.Write(line)
			}
		}),
		application(t, "error", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) }),
		application(t, "redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, fmt.Sprintf("http://%s:%d/", elsewhere.Address, elsewhere.Port), http.StatusFound)
		}),
		application(t, "late", late),
		application(t, "slow", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "begins 1\n")
			w.(http.Flusher).Flush()
			late(w, r)
		}),
		{Name: "gone", Address: gone.Addr().String(), Port: gone.Port(), Path: "/"},
	}
	watch := testtime.Start(t)
	w := h.scrapes(t, proxy.Scrape{Applications: apps}, "X-Prometheus-Scrape-Timeout-Seconds", "1")
	if took := watch.Took(); took > 5*time.Second {
		t.Errorf("took %s, and the scraper waits for 1s", took)
	}
	got := settled(t, w.Body.String())
	if !strings.Contains(got, "envoy_requests{cluster=\"a\"} 1\n") || !strings.Contains(got, "fine{weft_application=\"well\"} 1\n") {
		t.Errorf("what is well is not told:\n%s", got)
	}
	for _, none := range []string{"good", "secret", "begins"} {
		if strings.Contains(got, none) {
			t.Errorf("%s is told:\n%s", none, got)
		}
	}
	for i, a := range apps {
		up := 0
		if i == 0 {
			up = 1
		}
		if want := fmt.Sprintf("weft_scrape_application_up{weft_application=%q} %d\n", a.Name, up); !strings.Contains(got, want) {
			t.Errorf("not told: %s", want)
		}
	}
}

func TestApplicationsTogetherAreBounded(t *testing.T) {
	h := newHost(t)
	text := strings.Repeat("# "+strings.Repeat("x", 1<<20-3)+"\n", maxApplication>>20)
	var apps []proxy.Application
	for i := range maxTogether/maxApplication + 1 {
		apps = append(apps, application(t, fmt.Sprint("app-", i), says(text)))
	}
	if got := h.answers(t, apps...); strings.Count(got, "} 0\n") != 1+len(apps) { // none dropped a family
		t.Errorf("not one application is left out:\n%s", got)
	}
}

func TestLoopbackIsEither(t *testing.T) {
	h := newHost(t)
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(says("six 6\n"))
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	port := netip.MustParseAddrPort(l.Addr().String()).Port()
	if got := h.answers(t, proxy.Application{Name: "six", Port: port, Path: "/"}); !strings.Contains(got, "six{weft_application=\"six\"} 6") {
		t.Errorf("not told:\n%s", got)
	}
}

// A reader ends with an error.
type torn struct{ io.Reader }

func (t torn) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func TestEnvoyThatFails(t *testing.T) {
	app := application(t, "app", says("fine 1\n# TYPE envoy_requests counter\nenvoy_requests 2\n"))
	for _, c := range []struct {
		name string
		in   io.Reader
		err  error
		want string // before the rest
	}{
		{"at once", nil, errors.New("no Envoy"), ""},
		{"in a line", torn{strings.NewReader("# TYPE envoy_requests counter\nenvoy_requests{a=\"b\"} 1\nenvoy_requ")}, nil,
			"# TYPE envoy_requests counter\nenvoy_requests{a=\"b\"} 1\nenvoy_requests{weft_application=\"app\"} 2\n"},
		{"without an error", strings.NewReader("# TYPE x counter\nx 1\nx"), nil, "# TYPE x counter\nx 1\n"},
		{"by an endless line", io.MultiReader(strings.NewReader("# TYPE x counter\nx 1\n"), strings.NewReader(strings.Repeat("x", maxLine+1)+"\nx 2\n")), nil, "# TYPE x counter\nx 1\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			h.envoy = func(string, bool) (io.ReadCloser, error) { return io.NopCloser(c.in), c.err }
			got := h.answers(t, app)
			if !strings.HasPrefix(got, c.want) || !strings.Contains(got, "fine{weft_application=\"app\"} 1\n") || !strings.Contains(got, "weft_scrape_envoy_up 0\n") {
				t.Errorf("answered\n%s\nwant it to begin\n%s", got, c.want)
			}
		})
	}
}

func TestWhatEnvoyIsAsked(t *testing.T) {
	h := newHost(t)
	asked := ""
	h.envoy = func(filter string, usedOnly bool) (io.ReadCloser, error) {
		asked = fmt.Sprint(filter, " ", usedOnly)
		return io.NopCloser(strings.NewReader("")), nil
	}
	h.scrapes(t, proxy.Scrape{Filter: `^http\..*`, UsedOnly: true})
	if asked != `^http\..* true` {
		t.Errorf("Envoy was asked for %q", asked)
	}
}

func TestWhatApplicationsAreAsked(t *testing.T) {
	h := newHost(t)
	var asked *http.Request
	app := application(t, "app", func(w http.ResponseWriter, r *http.Request) { asked = r })
	app.Path = "/custom?format=prometheus"
	h.scrapes(t, proxy.Scrape{Applications: []proxy.Application{app}}, "Cookie", "secret")
	if asked == nil {
		t.Fatal("nothing")
	}
	if got := asked.URL.RequestURI(); got != app.Path {
		t.Errorf("path %q", got)
	}
	if got := asked.Header.Get("Accept"); !strings.HasPrefix(got, "text/plain;version=0.0.4") {
		t.Errorf("accept %q", got)
	}
	if asked.Header.Get("Cookie") != "" || asked.Header.Get(proxy.ScrapeHeader) != "" {
		t.Errorf("the scraper's headers are handed on: %v", asked.Header)
	}
	if d := patience(asked.Header.Get("X-Prometheus-Scrape-Timeout-Seconds")); d <= 0 || d > scrapeTime {
		t.Errorf("is given %s", d)
	}
}

func TestRequestsThatAreNone(t *testing.T) {
	h := newHost(t)
	for _, c := range []struct {
		method, header string
		want           int
	}{
		{http.MethodPost, "{}", http.StatusMethodNotAllowed},
		{http.MethodGet, "{", http.StatusBadRequest},
		{http.MethodGet, "", http.StatusOK},
	} {
		r := httptest.NewRequestWithContext(t.Context(), c.method, "/metrics", nil)
		if c.header != "" {
			r.Header.Set(proxy.ScrapeHeader, c.header)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s with %q: %d, want %d", c.method, c.header, w.Code, c.want)
		}
	}
}

func TestPatience(t *testing.T) {
	for said, want := range map[string]time.Duration{
		"": scrapeTime, "x": scrapeTime, "-1": scrapeTime, "0": scrapeTime, "NaN": scrapeTime,
		"10": 9 * time.Second, "0.5": 450 * time.Millisecond, "60": maxTime, "1e300": maxTime, "+Inf": maxTime,
	} {
		if got := patience(said); got != want {
			t.Errorf("%q: %s, want %s", said, got, want)
		}
	}
}

// Scrapes that nobody would wait for do not pile up.
func TestOnlySoManyAtOnce(t *testing.T) {
	h := newHost(t)
	begun, hang := make(chan struct{}, maxAtOnce), make(chan struct{})
	app := application(t, "app", func(http.ResponseWriter, *http.Request) {
		begun <- struct{}{}
		<-hang
	})
	var wg sync.WaitGroup
	for range maxAtOnce {
		wg.Go(func() { h.scrapes(t, proxy.Scrape{Applications: []proxy.Application{app}}) })
		<-begun
	}
	if w := h.scrapes(t, proxy.Scrape{}, "X-Prometheus-Scrape-Timeout-Seconds", "0.1"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("answered %d, want 503", w.Code)
	}
	close(hang)
	wg.Wait()
	if w := h.scrapes(t, proxy.Scrape{}); w.Code != http.StatusOK {
		t.Errorf("answered %d when there was room again", w.Code)
	}
}

func TestByTheSocketAndPacked(t *testing.T) {
	h := newHost(t)
	h.cfg.Socket = filepath.Join(envoytest.Dir(t), "metrics.sock")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	c := http.Client{Transport: &http.Transport{
		DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			for {
				c, err := new(net.Dialer).DialContext(ctx, "unix", h.cfg.Socket)
				if err == nil || ctx.Err() != nil {
					return c, err
				}
			}
		},
	}, Timeout: testtime.Wait}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://agent/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept-Encoding", "gzip")
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil || !strings.HasPrefix(string(text), envoyText) {
		t.Errorf("answered %q (%v)", text, err)
	}
	if got := resp.Header.Get("Content-Type"); got != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("content type %q", got)
	}
	_ = resp.Body.Close()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// BenchmarkAnswer joins 50,000 lines of Envoy's with 2,000 of an application.
func BenchmarkAnswer(b *testing.B) {
	var envoy, app bytes.Buffer
	for i := range 50_000 {
		if i%100 == 0 {
			fmt.Fprintf(&envoy, "# TYPE envoy_metric_%d counter\n", i)
		}
		fmt.Fprintf(&envoy, "envoy_metric_%d{envoy_cluster_name=\"service-%d\"} %d\n", i-i%100, i%100, i)
	}
	for i := range 2000 {
		fmt.Fprintf(&app, "app_metric_%d{a=\"b\",n=\"%d\"} %d\n", i%50, i, i)
	}
	families, err := parse(app.Bytes())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(envoy.Len() + app.Len()))
	b.ReportAllocs()
	for b.Loop() {
		book := newBook()
		book.add(families, "app")
		if err := book.merge(io.Discard, bytes.NewReader(envoy.Bytes())); err != nil {
			b.Fatal(err)
		}
		if err := book.rest(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
