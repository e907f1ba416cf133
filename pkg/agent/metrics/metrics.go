// Package metrics answers scrapes of a host's proxy.
//
// It joins what Envoy tells of itself, what the host's applications tell, and
// what the agent knows into one answer of Prometheus' text format. An
// application that is late, too long, or does not speak the format is told as
// a metric, and the rest is answered.
package metrics

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// A Config is what a Server depends on.
type Config struct {
	// Socket is where Envoy hands scrapes in; its folder must be open to the
	// agent's user alone.
	Socket string
	// UID is whose the socket is, where Envoy runs as another user; 0: the agent's.
	UID int
	// Envoy returns Envoy's metrics in Prometheus' text format, those that
	// match a regular expression ("" is all) or that ever counted.
	Envoy func(ctx context.Context, filter string, usedOnly bool) (io.ReadCloser, error)
	// Own are the agent's metrics.
	Own prometheus.Gatherer
	// Dial connects to applications, around the mesh.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	Log  *slog.Logger
}

// Bounds of a scrape.
const (
	maxTime    = 20 * time.Second // however long the scraper would wait
	scrapeTime = 9 * time.Second  // where it does not say; Prometheus waits for 10 s
	maxAtOnce  = 2                // scrapes; others wait
	maxHeader  = 64 << 10         // bytes
)

// A Server is one host's.
type Server struct {
	cfg   Config
	log   *slog.Logger
	apps  http.Client
	turns chan struct{}

	mu     sync.Mutex
	failed map[string]string // applications that did not answer last, and why
}

// New makes a server. It starts nothing.
func New(cfg Config) *Server {
	return &Server{
		cfg: cfg, log: cfg.Log, apps: client(cfg.Dial),
		turns: make(chan struct{}, maxAtOnce), failed: map[string]string{},
	}
}

// Run answers until ctx ends, then returns nil. It fails where it cannot
// listen.
func (s *Server) Run(ctx context.Context) error {
	if err := os.Remove(s.cfg.Socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("listen for scrapes: %w", err)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", s.cfg.Socket)
	if err == nil {
		err = os.Chmod(s.cfg.Socket, 0o600)
	}
	if s.cfg.UID != 0 && err == nil {
		err = s.GiveTo(s.cfg.UID)
	}
	if err != nil {
		return fmt.Errorf("listen for scrapes: %w", err)
	}
	srv := &http.Server{Handler: s, ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
	defer context.AfterFunc(ctx, func() { _ = srv.Close() })()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve scrapes: %w", err)
	}
	return nil
}

// GiveTo has the socket be a user's alone, beside root.
func (s *Server) GiveTo(uid int) error { return os.Lchown(s.cfg.Socket, uid, -1) }

// ServeHTTP answers one scrape.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "scrapes are GET", http.StatusMethodNotAllowed)
		return
	}
	var what proxy.Scrape
	if said := r.Header.Get(proxy.ScrapeHeader); said != "" {
		if err := json.Unmarshal([]byte(said), &what); err != nil {
			http.Error(w, "the proxy does not say what to join: "+err.Error(), http.StatusBadRequest)
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience(r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds")))
	defer cancel()
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
	case <-ctx.Done():
		http.Error(w, "other scrapes are under way; scrape less often", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	var out io.Writer = w
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
		if err != nil {
			panic(err) // the level is right
		}
		defer func() {
			if err := z.Close(); err != nil {
				s.log.Debug("scrape was not read to the end", "error", err)
			}
		}()
		out = z
	}
	if err := s.answer(ctx, out, what); err != nil {
		s.log.Debug("scrape was not read to the end", "error", err)
	}
}

// patience is how long the whole may take, of what the scraper says that it
// waits.
func patience(said string) time.Duration {
	seconds, err := strconv.ParseFloat(said, 64)
	if err != nil || !(seconds > 0) {
		return scrapeTime
	}
	// What is left over is for the way back.
	return time.Duration(min(seconds*0.9, maxTime.Seconds()) * float64(time.Second))
}

// answer writes everything. It fails where nobody reads it.
func (s *Server) answer(ctx context.Context, w io.Writer, what proxy.Scrape) error {
	type opened struct {
		io.ReadCloser
		err error
	}
	begun, envoy := time.Now(), make(chan opened, 1)
	go func() {
		in, err := s.cfg.Envoy(ctx, what.Filter, what.UsedOnly)
		envoy <- opened{in, err}
	}()
	scrapes := s.applications(ctx, what.Applications)
	b := newBook()
	for i := range scrapes {
		b.add(scrapes[i].families, scrapes[i].name)
	}
	own, err := s.cfg.Own.Gather()
	if err != nil {
		s.log.Warn("the agent's own metrics are not whole", "error", err)
	}
	b.add(own, "")

	in := <-envoy
	if err = in.err; err == nil {
		err = b.merge(w, in)
		_ = in.Close() // it was only read
	}
	if errors.Is(err, errWrite) {
		return err
	}
	s.note("envoy", err)
	b.add(told(scrape{took: time.Since(begun), err: err}, scrapes, b.lost), "")
	return b.rest(w)
}

// note says in the log when a source begins and ceases to fail.
func (s *Server) note(source string, err error) {
	now := ""
	if err != nil {
		now = err.Error()
	}
	s.mu.Lock()
	before := s.failed[source]
	if now == "" {
		delete(s.failed, source)
	} else {
		s.failed[source] = now
	}
	s.mu.Unlock()
	switch {
	case now != "" && before == "":
		s.log.Warn("metrics are missing from scrapes", "source", source, "error", now)
	case now == "" && before != "":
		s.log.Info("metrics are there again", "source", source)
	}
}
