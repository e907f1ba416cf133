package envoy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// An Admin asks a running Envoy by its unix socket.
type Admin struct {
	path string
	http *http.Client
}

const (
	adminTime = 10 * time.Second // for one question
	maxAnswer = 256 << 20        // bytes: a dump of some ten thousand clusters
	maxError  = 1 << 10          // bytes of an answer that are told in an error
)

// NewAdmin returns a client of the admin socket at path. It connects for each
// question, since the Envoy behind the path changes.
func NewAdmin(path string) *Admin {
	return &Admin{path: path, http: &http.Client{
		Timeout: adminTime,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", path)
			},
		},
	}}
}

// Ready fails unless Envoy has all its configuration and serves.
func (a *Admin) Ready(ctx context.Context) error {
	_, err := a.ask(ctx, http.MethodGet, "/ready", nil)
	return err
}

// Stats returns the counters and gauges whose name matches the regular
// expression filter (RE2, somewhere in the name); "" is all of them.
func (a *Admin) Stats(ctx context.Context, filter string) (map[string]int64, error) {
	q := url.Values{}
	if filter != "" {
		q.Set("filter", filter)
	}
	text, err := a.ask(ctx, http.MethodGet, "/stats", q)
	if err != nil {
		return nil, err
	}
	stats := make(map[string]int64)
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxAnswer)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), ": ")
		if !ok {
			continue
		}
		if n, err := strconv.ParseInt(value, 10, 64); err == nil { // else a histogram or a text
			stats[name] = n
		}
	}
	return stats, lines.Err()
}

// Prometheus returns Envoy's metrics in Prometheus' text format: those whose
// name matches the regular expression filter (RE2, somewhere in the name; "" is
// all), with usedOnly those that ever counted. The caller closes it.
func (a *Admin) Prometheus(ctx context.Context, filter string, usedOnly bool) (io.ReadCloser, error) {
	q := url.Values{}
	if filter != "" {
		q.Set("filter", filter)
	}
	if usedOnly {
		q.Set("usedonly", "")
	}
	return a.read(ctx, "/stats/prometheus", q)
}

// ConfigDump returns what Envoy runs by, as JSON, endpoints included. Envoy
// leaves private keys out.
func (a *Admin) ConfigDump(ctx context.Context) ([]byte, error) {
	return a.ask(ctx, http.MethodGet, "/config_dump", url.Values{"include_eds": {""}})
}

// Drain asks Envoy to let inbound connections end, and to go on running.
func (a *Admin) Drain(ctx context.Context) error {
	_, err := a.ask(ctx, http.MethodPost, "/drain_listeners",
		url.Values{"inboundonly": {""}, "graceful": {""}, "skip_exit": {""}})
	return err
}

// ask returns the body of an answer with status 200.
func (a *Admin) ask(ctx context.Context, method, path string, q url.Values) ([]byte, error) {
	resp, err := a.open(ctx, method, path, q)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("ask Envoy at %s for %s: %w", a.path, path, err)
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("ask Envoy at %s for %s: the answer is longer than %d bytes", a.path, path, maxAnswer)
	}
	return body, nil
}

// open asks, and returns an answer with status 200 whose body the caller closes.
func (a *Admin) open(ctx context.Context, method, path string, q url.Values) (*http.Response, error) {
	u := url.URL{Scheme: "http", Host: "envoy", Path: path, RawQuery: q.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("ask Envoy at %s: %w", a.path, err)
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask Envoy at %s: %w", a.path, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxError))
	if err != nil {
		return nil, fmt.Errorf("ask Envoy at %s for %s: %w", a.path, path, err)
	}
	return nil, fmt.Errorf("ask Envoy at %s for %s: %s: %s", a.path, path, resp.Status, firstLine(body))
}
