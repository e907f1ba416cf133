//go:build linux

package testmesh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testtime"
)

// Targets are the services that a mixed load calls. What is empty is left out.
type Targets struct {
	// HTTP is a service that ServeMixed serves over HTTP/1.1, as "api.mesh".
	HTTP string
	// GRPC is one that it serves over HTTP/2: its protocol is grpc or http2.
	GRPC string
}

// Of a mixed load.
const (
	mixedEvery  = 20 * time.Millisecond // between two requests of one sort
	mixedAnswer = 5 * time.Second       // in which the machine ran, for one request: later it has failed
	mixedWait   = 15 * time.Second      // before one is given up
	mixedAgain  = 50 * time.Millisecond // before a connection that broke is made anew
	longestMix  = 5 * time.Minute       // ends a load that nobody stopped
)

// A Mixed is a load of every sort that goes on until it is stopped.
type Mixed struct {
	stop  context.CancelFunc
	wg    sync.WaitGroup
	watch *testtime.Watch

	mu   sync.Mutex
	now  Tallies
	last map[string]time.Duration // answer, by the watch
}

// StartMixed calls the targets from a host until the test ends, Stop is called or
// five minutes are over: requests that keep their connection, requests that
// make one each, one gRPC stream and one WebSocket whose messages are numbered,
// and which are opened anew only when they broke. Each sort sends 50 requests a
// second, as long as the answers keep up.
func StartMixed(t testing.TB, from *Host, to Targets) *Mixed {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), longestMix)
	m := &Mixed{stop: stop, watch: testtime.Start(t), now: Tallies{}, last: map[string]time.Duration{}}
	run := func(sort string, one func(context.Context, *counter)) {
		m.now[sort] = Tally{Failures: map[string]int{}}
		m.last[sort] = m.watch.Took()
		m.wg.Go(func() { one(ctx, &counter{m: m, sort: sort}) })
	}
	if to.HTTP != "" {
		kept, fresh := from.Transport(t, to.HTTP), from.Transport(t, to.HTTP)
		fresh.DisableKeepAlives = true
		run(KeepAlive, func(ctx context.Context, c *counter) { requests(ctx, kept, to.HTTP, c) })
		run(NewConnections, func(ctx context.Context, c *counter) { requests(ctx, fresh, to.HTTP, c) })
		at := net.JoinHostPort(from.Resolve(t, to.HTTP).String(), "80")
		run(WebSocket, func(ctx context.Context, c *counter) {
			c.conversations(ctx, func() (conversation, error) { return openWebSocket(from.Host, at, to.HTTP) })
		})
	}
	if to.GRPC != "" {
		at := net.JoinHostPort(from.Resolve(t, to.GRPC).String(), "80")
		run(GRPCStream, func(ctx context.Context, c *counter) {
			c.conversations(ctx, func() (conversation, error) { return openStream(ctx, from.Host, at, to.GRPC) })
		})
	}
	t.Cleanup(func() { m.Stop() })
	return m
}

// Take returns what became of the requests since the last Take, and goes on.
func (m *Mixed) Take() Tallies {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := m.now
	m.now = Tallies{}
	for sort, one := range taken {
		one.Longest = max(one.Longest, m.watch.Took()-m.last[sort])
		taken[sort] = one
		m.now[sort] = Tally{Failures: map[string]int{}}
	}
	return taken
}

// Stop ends the load and returns what became of the requests since the last
// Take. It may be called again.
func (m *Mixed) Stop() Tallies {
	m.stop()
	m.wg.Wait()
	return m.Take()
}

// AwaitMore waits until every sort has so many more answers, and fails the
// test where one has not.
func (m *Mixed) AwaitMore(t testing.TB, n int) {
	t.Helper()
	answered := func() map[string]int {
		m.mu.Lock()
		defer m.mu.Unlock()
		got := map[string]int{}
		for sort, one := range m.now {
			got[sort] = one.Requests - one.Failed()
		}
		return got
	}
	before := answered()
	Eventually(t, "every sort of traffic is answered", func() error {
		now := answered()
		for sort := range before {
			if now[sort]-before[sort] < n {
				return fmt.Errorf("%s has %d answers more, of %d", sort, now[sort]-before[sort], n)
			}
		}
		return nil
	})
}

// A counter counts one sort.
type counter struct {
	m    *Mixed
	sort string
}

// began is when a request begins, by the load's watch.
func (c *counter) began() time.Duration { return c.m.watch.Took() }

// ended counts one request. One that is cut off by the end of the load is none.
func (c *counter) ended(ctx context.Context, began time.Duration, err error) {
	if ctx.Err() != nil && err != nil {
		return
	}
	now := c.m.watch.Took()
	if now-began > mixedAnswer {
		err = fmt.Errorf("no answer within %s", mixedAnswer)
	}
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	one := c.m.now[c.sort]
	one.Requests++
	if err != nil {
		one.Failures[reason(err)]++
	} else {
		one.Slowest = max(one.Slowest, now-began)
		one.Longest = max(one.Longest, now-c.m.last[c.sort])
		c.m.last[c.sort] = now
	}
	c.m.now[c.sort] = one
}

// reason is an error without the ports of this end, so that equal ones count
// as one.
func reason(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return fmt.Sprintf("%s %s: %v", op.Op, op.Net, op.Err)
	}
	return err.Error()
}

// requests sends one after the other. They are POSTs, which no client sends
// again by itself.
func requests(ctx context.Context, tr *http.Transport, host string, c *counter) {
	client := &http.Client{Transport: tr, Timeout: mixedWait}
	paced(ctx, func() bool {
		began := c.began()
		c.ended(ctx, began, post(ctx, client, "http://"+host+"/load"))
		return true
	})
}

func post(ctx context.Context, client *http.Client, to string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader("load"))
	if err != nil {
		return err
	}
	req.GetBody = nil
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

// paced calls f at a steady pace until it returns false or ctx ends.
func paced(ctx context.Context, f func() bool) {
	tick := time.NewTicker(mixedEvery)
	defer tick.Stop()
	for f() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
