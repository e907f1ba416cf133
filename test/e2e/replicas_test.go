//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/internal/testtime"
)

var replicaRounds = flag.Int("replica-rounds", 1, "how often each fault strikes replicas")

// TestReplicas runs three control planes on one PostgreSQL while they and the
// database fail in turn. All the while a writer counts up through whichever
// replica takes it, proxies follow the count, and two real hosts talk.
func TestReplicas(t *testing.T) {
	r := testmesh.NewReplicas(t, 3, "--dp-auth", "none")
	c := newCount(t, r)
	web, api := r.Join(t, "web"), r.Join(t, "api")
	service(t, api, "127.0.0.1")
	r.Allow(t, "web", "api")
	web.WaitAnswer(t, "http://api.mesh/")
	calls := testmesh.StartLoad(t, web.Transport(t, "api.mesh"), "http://api.mesh/", 50)

	step := 0
	run := func(name string, f func(t *testing.T)) {
		step++
		if !t.Run(fmt.Sprintf("%02d %s", step, name), f) {
			t.FailNow()
		}
		c.settle(t)
	}
	outage := func(t *testing.T, stop, start func()) {
		t.Helper()
		streams := c.streams()
		stop()
		for _, one := range r.All {
			awaitAway(t, one)
		}
		wantReadsOnly(t, r.All...)
		c.letIn(t, r.All[0])
		if again := c.streams(); again != streams {
			t.Errorf("%d streams were opened while the database was away", again-streams)
		}
		before := c.acked.Load()
		start()
		testmesh.Eventually(t, "a write is taken again", func() error {
			if c.acked.Load() == before {
				return errors.New("none is")
			}
			return nil
		})
	}

	c.settle(t)
	run("each replica tells of all of them, and of every proxy", func(t *testing.T) {
		wantLeader(t, r.All...)
		for _, one := range r.All {
			testmesh.Eventually(t, one.Name+" knows everything", func() error { return knows(one, len(r.All), len(c.proxies)+3) })
		}
	})
	for range *replicaRounds {
		for _, one := range r.All {
			start := func() { one.StartReplica(t) } // it outlives the step
			run(one.Name+" is killed", func(t *testing.T) {
				one.Program().Kill(t)
				c.settle(t)
				start()
			})
		}
		run("the database is stopped", func(t *testing.T) {
			outage(t, func() { r.PG.Stop(t, syscall.SIGINT) }, func() { r.PG.Start(t) })
		})
		run("the database crashes", func(t *testing.T) {
			outage(t, func() { r.PG.Stop(t, syscall.SIGQUIT) }, func() { r.PG.Start(t) })
		})
		run("the database hangs", func(t *testing.T) {
			outage(t, func() { r.PG.Signal(t, syscall.SIGSTOP) }, func() { r.PG.Signal(t, syscall.SIGCONT) })
		})
		run("every session is ended", func(t *testing.T) {
			r.PG.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'weft-cp'")
		})
		run("one is cut off the database", func(t *testing.T) {
			for _, direction := range []string{"", "in", "out"} {
				one, others := r.All[1], []*testmesh.Replica{r.All[0], r.All[2]}
				one.Cut(t, r.DB, direction)
				awaitAway(t, one)
				wantReadsOnly(t, one)
				wantLeader(t, others...)
				c.settleBut(t, one.IP4.String())
				c.sentOn(t, one)
				one.Heal(t)
				c.settle(t)
			}
		})
		run("the leader is stopped for twice its lease, and goes on", func(t *testing.T) { c.stopLeader(t, r) })
	}
	whole := t
	run("a further one comes: hosts hear of it by the streams that they have", func(t *testing.T) {
		since := web.Status(t).Relay.ControlPlane.Since
		address := r.Further(whole).IP4.String() + ":5678"
		testmesh.Eventually(t, "web knows "+address, func() error {
			if known := web.Status(t).Identity.ControlPlanes; !slices.Contains(known, address) {
				return fmt.Errorf("it knows %q", known)
			}
			return nil
		})
		if now := web.Status(t).Relay.ControlPlane.Since; !now.Equal(since) {
			t.Errorf("its stream is of %s now, and was of %s", now, since)
		}
	})
	got := calls.Stop()
	if got["200"] != got.Total() || got.Total() < 100 {
		t.Errorf("calls between hosts: %v, want 200 alone", got)
	}
	c.stop()
	c.judge(t)
	t.Logf("F12: seed none (order is fixed), rounds %d, writes acknowledged %d, refused %d, unknown %d; proxies %d, streams %d, values seen %d, back %d, longest without a replica %s; calls %d, failed %d",
		*replicaRounds, c.acked.Load(), c.refused.Load(), c.unknown.Load(), len(c.proxies), c.streams(), c.values(), c.wentBack(), c.longest().Round(time.Millisecond), got.Total(), got.Total()-got["200"])
}

// stopLeader stops the leader by SIGSTOP for twice its lease. At no moment two
// lead, and the old one writes nothing of his when he goes on. (F13)
func (c *count) stopLeader(t *testing.T, r *testmesh.Replicas) {
	t.Helper()
	old := wantLeader(t, r.All...)
	others := slices.DeleteFunc(slices.Clone(r.All), func(o *testmesh.Replica) bool { return o == old })
	if err := syscall.Kill(old.Program().PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()
	wantLeader(t, others...)
	after := time.Since(stopped)
	samples := 0
	sample := func(until time.Time, of []*testmesh.Replica) {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for time.Now().Before(until) {
			var lead []string
			for _, one := range append(slices.Clone(of), of...) { // they are asked one after the other: two lead where one did before and after another
				if leads, err := one.Leads(); err == nil && leads && (len(lead) == 0 || lead[len(lead)-1] != one.Name) {
					lead = append(lead, one.Name)
				}
			}
			samples++
			if len(lead) > 2 {
				t.Errorf("two replicas lead: %q", lead)
			}
			<-tick.C
		}
	}
	sample(stopped.Add(6*time.Second), others)
	if err := syscall.Kill(old.Program().PID(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	sample(time.Now().Add(2*time.Second), r.All)
	now := wantLeader(t, r.All...)
	t.Logf("F13: seed none, %s stopped for 6 s leads no more, %s leads after %s; looks %d, of which with two leaders 0", old.Name, now.Name, after.Round(time.Millisecond), samples)
}

// letIn wants a replica whose database is away to serve a proxy that comes, with
// what it knows.
func (c *count) letIn(t *testing.T, one *testmesh.Replica) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	comer := &follower{from: c.proxies[0].from, id: c.proxies[0].id}
	ended := make(chan error, 1)
	go func() { ended <- comer.follow(ctx, one.IP4.String()) }()
	testmesh.Eventually(t, "a proxy that comes is served from memory", func() error {
		select {
		case err := <-ended:
			t.Fatalf("a proxy that comes is refused: %v", err)
		default:
		}
		if value, _ := comer.has(); value == 0 {
			return errors.New("it is not")
		}
		return nil
	})
	cancel()
	t.Logf("the proxy that came ended with: %v", <-ended)
}

// sentOn wants a replica that is behind to send on who has a newer state.
func (c *count) sentOn(t *testing.T, behind *testmesh.Replica) {
	t.Helper()
	one := c.proxies[0]
	for _, f := range c.proxies {
		if _, at := f.has(); at != behind.IP4.String() {
			one = f
		}
	}
	one.mu.Lock()
	state := one.state
	one.mu.Unlock()
	comer := &follower{from: one.from, id: one.id, state: state}
	err := comer.follow(t.Context(), behind.IP4.String())
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "catches up") || comer.values > 0 {
		t.Errorf("%s gave %d values to a proxy of state %s; error %v", behind.Name, comer.values, state, err)
	}
}

// wantLeader waits until exactly one leads.
func wantLeader(t *testing.T, of ...*testmesh.Replica) (leader *testmesh.Replica) {
	t.Helper()
	testmesh.Eventually(t, "one replica leads", func() error {
		leader = nil
		for _, one := range of {
			leads, err := one.Leads()
			if err != nil {
				return fmt.Errorf("%s: %w", one.Name, err)
			}
			if leads && leader != nil {
				t.Errorf("%s leads and %s too", one.Name, leader.Name)
			}
			if leads {
				leader = one
			}
		}
		if leader == nil {
			return errors.New("nobody does")
		}
		return nil
	})
	return leader
}

func knows(one *testmesh.Replica, replicas, online int) error {
	_, _, text, err := one.Ask(http.MethodGet, "/_weft/replicas", nil)
	var page struct {
		Items []struct{ Instance string }
	}
	if err == nil {
		err = json.Unmarshal(text, &page)
	}
	if err != nil || len(page.Items) != replicas {
		return fmt.Errorf("%d replicas, want %d: %w\n%s", len(page.Items), replicas, err, text)
	}
	_, _, text, err = one.Ask(http.MethodGet, "/dataplanes/_overview?size=100", nil)
	if n := strings.Count(string(text), `"connectTime"`); err != nil || n != online-1 { // the counter is nobody's
		return fmt.Errorf("%d proxies are connected, want %d: %w", n, online-1, err)
	}
	return nil
}

// awaitAway waits until a replica knows that the database is away.
func awaitAway(t *testing.T, one *testmesh.Replica) {
	t.Helper()
	testmesh.Eventually(t, one.Name+" warns", func() error {
		code, h, text, err := one.Ask(http.MethodGet, "/meshes/default", nil)
		if err != nil || code != 200 || h.Get("Warning") == "" {
			return fmt.Errorf("status %d, warning %q, error %w: %s", code, h.Get("Warning"), err, text)
		}
		return nil
	})
}

// wantReadsOnly wants reads that are answered at once, and writes that fail
// with words.
func wantReadsOnly(t *testing.T, of ...*testmesh.Replica) {
	t.Helper()
	for _, one := range of {
		for _, path := range []string{"/meshes", "/meshes/default", "/meshes/default/dataplanes", "/dataplanes/_overview", "/meshes/default/dataplanes/" + counter} {
			code, h, text, err := one.Ask(http.MethodGet, path, nil)
			if err != nil || code != 200 || !strings.Contains(h.Get("Warning"), "the store is away since") {
				t.Errorf("%s: GET %s: status %d, warning %q, error %v: %s", one.Name, path, code, h.Get("Warning"), err, text)
			}
		}
		code, _, text, err := one.Ask(http.MethodPut, "/meshes/default/dataplanes/"+counter, countedTo(1))
		if err != nil || code != 503 || !strings.Contains(string(text), "cannot reach its store") {
			t.Errorf("%s: PUT: status %d, error %v: %s", one.Name, code, err, text)
		}
	}
}

// A count is a number that a writer counts up, in the port of a Dataplane, and
// the proxies that follow it.
type count struct {
	r       *testmesh.Replicas
	proxies []*follower
	quit    chan struct{}
	work    sync.WaitGroup

	acked, refused, unknown atomic.Int64
	newest                  atomic.Int64 // that was acknowledged

	mu      sync.Mutex
	history []written
}

// A written is an acknowledged write.
type written struct {
	n, version int
}

const (
	counter   = "counter-1"
	followers = 12
)

func countedTo(n int) map[string]any {
	return map[string]any{
		"type": "Dataplane", "mesh": "default", "name": counter,
		"networking": map[string]any{
			"address": "192.0.2.1",
			"inbound": []any{map[string]any{"port": n, "tags": map[string]string{"kuma.io/service": "counter"}}},
		},
	}
}

func newCount(t *testing.T, r *testmesh.Replicas) *count {
	t.Helper()
	return countWith(t, r, followers)
}

func countWith(t *testing.T, r *testmesh.Replicas, n int) *count {
	t.Helper()
	c := &count{r: r, quit: make(chan struct{})}
	put := func(name string, body any) {
		code, _, text, err := r.All[0].Ask(http.MethodPut, "/meshes/default/dataplanes/"+name, body)
		if err != nil || code >= 300 {
			t.Fatalf("put %s: status %d, error %v: %s", name, code, err, text)
		}
	}
	put(counter, countedTo(1))
	c.newest.Store(1)
	var hosts []*testnet.Host
	for _, one := range r.All {
		hosts = append(hosts, one.Host)
	}
	att := r.Net.Host("followers")
	for i := range n {
		name := fmt.Sprintf("follower-%d", i)
		put(name, map[string]any{
			"type": "Dataplane", "mesh": "default", "name": name,
			"networking": map[string]any{"address": "192.0.2.2", "inbound": []any{map[string]any{"port": 80, "tags": map[string]string{"kuma.io/service": "follower"}}}},
		})
		f := &follower{from: att, to: hosts, id: "default." + name, at: i, watch: testtime.Start(t)}
		c.proxies = append(c.proxies, f)
		c.work.Go(func() { f.run(c.quit) })
	}
	c.work.Go(c.write)
	t.Cleanup(c.stop)
	return c
}

func (c *count) stop() {
	select {
	case <-c.quit:
	default:
		close(c.quit)
	}
	c.work.Wait()
}

// write counts up, through one replica after the other. Each number is written
// over the version that was read, so that none can overtake a later one.
func (c *count) write() {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for turn := 0; ; turn++ {
		select {
		case <-tick.C:
		case <-c.quit:
			return
		}
		one := c.r.All[turn%len(c.r.All)]
		code, h, text, err := one.Ask(http.MethodGet, "/meshes/default/dataplanes/"+counter, nil)
		if err != nil || code != 200 || h.Get("Warning") != "" {
			continue
		}
		n := 0
		var has struct {
			Networking struct{ Inbound []struct{ Port int } }
		}
		if err := json.Unmarshal(text, &has); err == nil && len(has.Networking.Inbound) == 1 {
			n = has.Networking.Inbound[0].Port + 1
		}
		code, h, _, err = one.Ask(http.MethodPut, "/meshes/default/dataplanes/"+counter, countedTo(n), "If-Match", h.Get("ETag"))
		switch {
		case err == nil && code < 300:
			version := 0
			_, _ = fmt.Sscanf(h.Get("ETag"), `"%d"`, &version)
			c.mu.Lock()
			c.history = append(c.history, written{n, version})
			c.mu.Unlock()
			c.newest.Store(int64(n))
			c.acked.Add(1)
		case err == nil && (code == 503 || code == 409 || code == 412):
			c.refused.Add(1)
		default: // it may be written all the same
			c.unknown.Add(1)
		}
	}
}

// settle waits until a value that is acknowledged from now on has come to every
// proxy.
func (c *count) settle(t *testing.T) {
	t.Helper()
	c.settleBut(t, "")
}

// settleBut does not wait for proxies whose stream is to a given address.
func (c *count) settleBut(t *testing.T, address string) {
	t.Helper()
	from := c.newest.Load()
	testmesh.Eventually(t, "a newer value is acknowledged", func() error {
		if c.newest.Load() <= from {
			return fmt.Errorf("it is %d still", from)
		}
		return nil
	})
	want := int(c.newest.Load())
	for _, f := range c.proxies {
		testmesh.Eventually(t, f.id+" has it", func() error {
			if has, at := f.has(); has < want && (address == "" || at != address) {
				return fmt.Errorf("%d, want %d; its stream is to %q", has, want, at)
			}
			return nil
		})
	}
}

// judge wants every acknowledged number to have been followed by greater ones
// only, and the last of them, or what was written over it, at every replica.
func (c *count) judge(t *testing.T) {
	t.Helper()
	for i, w := range c.history[1:] {
		if before := c.history[i]; w.n <= before.n || w.version <= before.version {
			t.Errorf("acknowledged %d at version %d after %d at version %d", w.n, w.version, before.n, before.version)
		}
	}
	last := c.history[len(c.history)-1]
	for _, one := range c.r.All {
		_, h, text, err := one.Ask(http.MethodGet, "/meshes/default/dataplanes/"+counter, nil)
		version := 0
		_, _ = fmt.Sscanf(h.Get("ETag"), `"%d"`, &version)
		if err != nil || version < last.version {
			t.Errorf("%s has version %d, acknowledged was %d at %d; %v: %s", one.Name, version, last.n, last.version, err, text)
		}
	}
	for _, f := range c.proxies {
		if f.back > 0 {
			t.Errorf("%s was given older values: %v", f.id, f.backs)
		}
		if f.longest > reconnect {
			t.Errorf("%s was without a replica for %s, %s is the most", f.id, f.longest, reconnect)
		}
	}
}

func (c *count) streams() (n int) {
	for _, f := range c.proxies {
		f.mu.Lock()
		n += f.streams
		f.mu.Unlock()
	}
	return n
}

func (c *count) values() (n int) {
	for _, f := range c.proxies {
		n += f.values
	}
	return n
}

func (c *count) wentBack() (n int) {
	for _, f := range c.proxies {
		n += f.back
	}
	return n
}

func (c *count) longest() (d time.Duration) {
	for _, f := range c.proxies {
		d = max(d, f.longest)
	}
	return d
}
