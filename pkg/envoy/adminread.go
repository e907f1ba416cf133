package envoy

import (
	"context"
	"io"
	"net/http"
	"net/url"
)

// What of Envoy can be read as Envoy writes it. The caller closes it; it ends
// after maxAnswer bytes.

// ReadConfigDump returns what Envoy runs by, as indented JSON. Envoy leaves
// private keys out.
func (a *Admin) ReadConfigDump(ctx context.Context, endpoints bool) (io.ReadCloser, error) {
	q := url.Values{}
	if endpoints {
		q.Set("include_eds", "")
	}
	return a.read(ctx, "/config_dump", q)
}

// ReadStats returns counters, gauges and histograms as text, a line each, or as
// JSON; with usedOnly those that ever counted.
func (a *Admin) ReadStats(ctx context.Context, usedOnly, asJSON bool) (io.ReadCloser, error) {
	q := url.Values{}
	if usedOnly {
		q.Set("usedonly", "")
	}
	return a.read(ctx, "/stats", format(q, asJSON))
}

// ReadClusters returns the clusters, their endpoints and how those fare, as text
// or as JSON.
func (a *Admin) ReadClusters(ctx context.Context, asJSON bool) (io.ReadCloser, error) {
	return a.read(ctx, "/clusters", format(url.Values{}, asJSON))
}

func format(q url.Values, asJSON bool) url.Values {
	if asJSON {
		q.Set("format", "json")
	}
	return q
}

func (a *Admin) read(ctx context.Context, path string, q url.Values) (io.ReadCloser, error) {
	resp, err := a.open(ctx, http.MethodGet, path, q) //nolint:bodyclose // it is the caller's
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxAnswer), resp.Body}, nil
}
