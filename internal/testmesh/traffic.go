//go:build linux

package testmesh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testnet"
)

// Serve answers HTTP/1 and plain HTTP/2 on a host until the test ends. It
// knows nothing of the mesh.
func Serve(t testing.TB, h *testnet.Host, listen string, handler http.Handler) {
	t.Helper()
	s := &http.Server{Handler: handler, Protocols: new(http.Protocols), ReadHeaderTimeout: patience}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	l := h.Listen(t, listen)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l.TCPListener) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve %s on %s: %v", listen, h.Name, err)
		}
	})
}

// Resolve looks a name up as a program of this host does.
func (h *Host) Resolve(t testing.TB, name string) netip.Addr {
	t.Helper()
	out := strings.Fields(h.Run(t, "getent", "ahostsv4", name))
	if len(out) == 0 {
		t.Fatalf("host %s: %s has no address", h.Name, name)
	}
	return netip.MustParseAddr(out[0])
}

// Transport calls from this host, and keeps its connections. It knows the
// given names as the host does.
func (h *Host) Transport(t testing.TB, names ...string) *http.Transport {
	t.Helper()
	known := map[string]netip.Addr{}
	for _, n := range names {
		known[n] = h.Resolve(t, n)
	}
	tr := &http.Transport{
		MaxIdleConnsPerHost: 64,
		DialContext: func(_ context.Context, network, address string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			if ip, ok := known[host]; ok {
				address = net.JoinHostPort(ip.String(), port)
			}
			return h.TryDial(network, address)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// Answers counts what came back: statuses, as in "200", and errors by their
// text.
type Answers map[string]int

// Total is how many there are.
func (a Answers) Total() (n int) {
	for _, c := range a {
		n += c
	}
	return n
}

// Call sends n requests, some at once, and counts the answers.
func Call(t testing.TB, rt http.RoundTripper, url string, n int) Answers {
	t.Helper()
	const atOnce = 8
	turns := make(chan struct{}, n)
	for range n {
		turns <- struct{}{}
	}
	close(turns)
	return count(t, rt, url, atOnce, turns)
}

// count sends a request at each turn.
func count(t testing.TB, rt http.RoundTripper, url string, atOnce int, turns <-chan struct{}) Answers {
	t.Helper()
	counts, mu := Answers{}, sync.Mutex{}
	c := &http.Client{Transport: rt, Timeout: patience}
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for range turns {
				got := once(c, url)
				mu.Lock()
				counts[got]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return counts
}

func once(c *http.Client, url string) string {
	resp, err := c.Get(url) //nolint:noctx // bounded by the client's timeout
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return fmt.Sprintf("%d and then %v", resp.StatusCode, err)
	}
	return fmt.Sprint(resp.StatusCode)
}

// A Load is traffic that goes on until it is stopped.
type Load struct {
	stop chan struct{}
	done chan Answers
}

// longestLoad ends a load that nobody stopped.
const longestLoad = 2 * time.Minute

// StartLoad sends so many requests a second, as long as the answers keep up.
func StartLoad(t testing.TB, rt http.RoundTripper, url string, perSecond int) *Load {
	t.Helper()
	l := &Load{stop: make(chan struct{}), done: make(chan Answers, 1)}
	turns := make(chan struct{})
	go func() {
		defer close(turns)
		tick, end := time.NewTicker(time.Second/time.Duration(perSecond)), time.After(longestLoad)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-l.stop:
				return
			case <-end:
				return
			}
			select {
			case turns <- struct{}{}:
			case <-l.stop:
				return
			}
		}
	}()
	go func() { l.done <- count(t, rt, url, 8, turns) }()
	return l
}

// Stop ends the load and returns all of its answers.
func (l *Load) Stop() Answers {
	close(l.stop)
	return <-l.done
}
