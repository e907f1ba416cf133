package metrics

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// Bounds of what applications tell, in bytes.
const (
	maxApplication = 8 << 20  // each
	maxTogether    = 24 << 20 // of one scrape
	maxAnswerHead  = 64 << 10
)

// A scrape is what came of asking one application.
type scrape struct {
	name     string
	families []*dto.MetricFamily
	took     time.Duration
	err      error
}

func client(dial func(ctx context.Context, network, address string) (net.Conn, error)) http.Client {
	return http.Client{
		Transport: &http.Transport{
			DialContext:            dial, // and no proxy, whatever the environment says
			MaxResponseHeaderBytes: maxAnswerHead,
			MaxConnsPerHost:        2 * maxAtOnce,
			IdleConnTimeout:        2 * time.Minute,
		},
		// An application is where its owner says, and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// applications asks all of them at once. Their answers have the order of the
// question.
func (s *Server) applications(ctx context.Context, all []proxy.Application) []scrape {
	scrapes := make([]scrape, len(all))
	var (
		wg     sync.WaitGroup
		parser sync.Mutex // one at a time: families take several times the room of their text
		left   atomic.Int64
	)
	left.Store(maxTogether)
	ctx, cancel := earlier(ctx)
	defer cancel()
	for i, a := range all {
		wg.Go(func() {
			begun := time.Now()
			families, err := s.ask(ctx, a, &left, &parser)
			scrapes[i] = scrape{name: a.Name, families: families, took: time.Since(begun), err: err}
			s.note("application "+a.Name, err)
		})
	}
	wg.Wait()
	return scrapes
}

// earlier leaves a fifth of the time for what comes after.
func earlier(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithTimeout(ctx, scrapeTime)
	}
	return context.WithDeadline(ctx, end.Add(-time.Until(end)/5))
}

// ask scrapes one application. What is not wholly right counts as nothing.
func (s *Server) ask(ctx context.Context, a proxy.Application, left *atomic.Int64, parser sync.Locker) ([]*dto.MetricFamily, error) {
	body, err := s.get(ctx, a)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, maxApplication+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxApplication:
		return nil, fmt.Errorf("tells more than %d bytes", maxApplication)
	case left.Add(-int64(len(text))) < 0:
		return nil, fmt.Errorf("the applications together tell more than %d bytes", maxTogether)
	}
	parser.Lock()
	defer parser.Unlock()
	return parse(text)
}

func (s *Server) get(ctx context.Context, a proxy.Application) (io.ReadCloser, error) {
	addresses := []string{a.Address}
	if a.Address == "" {
		addresses = []string{"127.0.0.1", "::1"}
	}
	var errs []error
	for _, address := range addresses {
		u, err := url.Parse("http://" + net.JoinHostPort(address, strconv.Itoa(int(a.Port))) + a.Path)
		if err != nil {
			return nil, err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Accept", "text/plain;version=0.0.4, */*;q=0.1")
		req.Header.Set("User-Agent", "weft-agent")
		if end, ok := ctx.Deadline(); ok {
			req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(time.Until(end).Seconds(), 'f', 3, 64))
		}
		resp, err := s.apps.Do(req)
		if err == nil && resp.StatusCode == http.StatusOK {
			return resp.Body, nil
		}
		if err == nil {
			_ = resp.Body.Close() // it is not read
			return nil, fmt.Errorf("ask %s: %s", u, resp.Status)
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// parse reads Prometheus' text format, by name.
func parse(text []byte) ([]*dto.MetricFamily, error) {
	p := expfmt.NewTextParser(model.LegacyValidation)
	byName, err := p.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("is not in Prometheus' text format: %w", err)
	}
	families := make([]*dto.MetricFamily, 0, len(byName))
	for _, f := range byName {
		families = append(families, f)
	}
	slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return families, nil
}
