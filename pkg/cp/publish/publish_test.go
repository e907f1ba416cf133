package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/plan"
	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/xds"
	"github.com/weft-mesh/weft/pkg/envoy/render"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// rig is a Publisher with simple stages, in a bubble: a plan reads the
// dataplane and the services, its version is the dataplane's and how many
// services there are.
type rig struct {
	*Publisher
	store  *memory
	stream *recorder
	plans  atomic.Int64 // made
	stop   func()
}

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	r := &rig{store: newMemory(), stream: &recorder{}}
	r.store.putMesh("default")
	c := Config{
		Store: r.store, Stream: r.stream, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Plan: func(v *snapshot.View, name string) (*proxy.Config, []plan.Warning) {
			r.plans.Add(1)
			n := 0
			for range v.Services().All() {
				n++
			}
			d := v.Dataplane(name)
			if d == nil {
				return nil, nil
			}
			return &proxy.Config{ID: proxy.ID{Mesh: v.Name(), Name: fmt.Sprintf("v%d/%d", d.Meta.Version, n)}}, nil
		},
		Render: func(c *proxy.Config) []render.Part {
			return one(func() (*render.Bundle, error) {
				return &render.Bundle{Listeners: []render.Resource{{Name: c.ID.Name}}}, nil
			})
		},
	}
	if change != nil {
		change(&c)
	}
	r.Publisher = New(c)
	return r
}

// one is a plan of one part.
func one(draw func() (*render.Bundle, error)) []render.Part {
	return []render.Part{{Render: draw}}
}

func (r *rig) start(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	synctest.Wait()
}

func (r *rig) want(t *testing.T, what, want string) {
	t.Helper()
	synctest.Wait()
	if got := r.stream.take(); got != want {
		t.Errorf("%s: published %q, want %q", what, got, want)
	}
}

// advance lets the bubble's clock go on.
func advance(d time.Duration) { <-time.After(d) }

func TestFirstChangeGoesOutAtOnceAndTheRestTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.start(t)
		defer r.stop()
		r.want(t, "at start", "names []")

		r.store.putDataplane(t, "a", dataplane("192.0.2.1", "api"))
		r.want(t, "first change, no time passed", "endpoints api; names [api.mesh]")
		for i := range 20 { // one every 4 ms
			advance(4 * time.Millisecond)
			r.store.putDataplane(t, "a", dataplane(fmt.Sprintf("192.0.2.%d", i+2), "api"))
		}
		r.want(t, "80 ms later", "")
		advance(20 * time.Millisecond)
		r.want(t, "100 ms after the first", "endpoints api")
		advance(50 * time.Millisecond)
		r.store.putDataplane(t, "a", dataplane("192.0.2.100", "api"))
		r.want(t, "within the next window", "")
		advance(50 * time.Millisecond)
		r.want(t, "at its end", "endpoints api")
		advance(coalesce)
		r.store.putDataplane(t, "a", dataplane("192.0.2.101", "api"))
		r.want(t, "after quiet", "endpoints api")
	})
}

func TestOnlyWhatReadAChangeIsPlannedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.store.putDataplane(t, "a", dataplane("192.0.2.1", "api")) // version 2
		r.store.putDataplane(t, "b", dataplane("192.0.2.2", "api")) // version 3
		r.stream.connect("a", "b")
		r.start(t)
		defer r.stop()
		synctest.Wait()
		if got := r.stream.take(); !strings.HasPrefix(got, "endpoints api; names [api.mesh]; proxy ") || !strings.Contains(got, "proxy a v2/1") || !strings.Contains(got, "proxy b v3/1") {
			t.Errorf("at start: %q", got)
		}
		step := func(what, want string) {
			t.Helper()
			advance(2 * coalesce)
			r.want(t, what, want)
		}
		r.store.putDataplane(t, "c", dataplane("192.0.2.3", "api"))
		step("another instance", "endpoints api")
		r.store.putDataplane(t, "a", dataplane("192.0.2.9", "api"))
		step("a changed dataplane", "endpoints api; proxy a v5/1")
		r.store.delete(mesh.DataplaneKind, "default", "b")
		step("a deleted dataplane", "endpoints api; drop b")
		r.store.put(mesh.TrafficPermissionKind, "default", "p", &mesh.TrafficPermission{})
		step("what no plan read", "")
		r.store.putDataplane(t, "c", dataplane("192.0.2.3", "db"))
		step("a new service", "endpoints api; endpoints db; proxy a v5/2; names [api.mesh db.mesh]")
		r.store.delete(mesh.DataplaneKind, "default", "c")
		step("a service that goes", "gone db; proxy a v5/1; names [api.mesh]")
		r.store.put(mesh.TrafficRouteKind, "default", "r", &mesh.TrafficRoute{
			Destinations: []mesh.Selector{{Match: mesh.Tags{mesh.ServiceTag: "api"}}},
			Conf:         &mesh.TrafficRouteConf{Destination: mesh.Tags{mesh.ServiceTag: "api", "version": "v1"}},
		})
		step("a part of a service", "endpoints api; endpoints api-9c106ec77db8279e")
		r.store.delete(mesh.TrafficRouteKind, "default", "r")
		step("that is not asked for any more", "endpoints api; left api-9c106ec77db8279e")
		r.store.delete(mesh.MeshKind, "", "default")
		step("a mesh that goes", "gone api; drop a; names []")
	})
}

// A stream is there before the state that has its dataplane is.
func TestStreamThatHasJustBeenOpenedIsNotDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.start(t)
		defer r.stop()
		r.store.putDataplane(t, "a", dataplane("192.0.2.1", "api"))
		advance(2 * coalesce)
		synctest.Wait()
		r.stream.take()

		r.stream.connect("late")
		r.store.putDataplane(t, "a", dataplane("192.0.2.2", "api")) // a round
		r.want(t, "a round without its dataplane", "endpoints api")
		advance(2 * coalesce)
		r.store.putDataplane(t, "late", dataplane("192.0.2.3", "api"))
		if err := r.Connect(t.Context(), proxy.ID{Mesh: "default", Name: "late"}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if got := r.stream.take(); !strings.Contains(got, "proxy late v4/1") || strings.Contains(got, "drop") {
			t.Errorf("published %q", got)
		}
		advance(2 * coalesce)
		r.store.delete(mesh.DataplaneKind, "default", "late")
		r.want(t, "its dataplane goes", "endpoints api; drop late")
	})
}

func TestFaultyProxyStopsNobodyAndKeepsWhatItHas(t *testing.T) {
	bad := map[string]func() error{
		"error": func() error { return errors.New("two listeners at one address") },
		"panic": func() error { panic("for the test") },
	}
	for name, fault := range bad {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var faulty atomic.Bool
				var logged strings.Builder
				r := newRig(t, func(c *Config) {
					c.Log = slog.New(slog.NewTextHandler(&logged, nil))
					good := c.Render
					c.Render = func(c *proxy.Config) []render.Part {
						if faulty.Load() && strings.HasPrefix(c.ID.Name, "v4/") {
							return one(func() (*render.Bundle, error) { return nil, fault() })
						}
						return good(c)
					}
				})
				r.store.putDataplane(t, "a", dataplane("192.0.2.1", "api"))
				r.store.putDataplane(t, "b", dataplane("192.0.2.2", "api"))
				r.stream.connect("a", "b")
				r.start(t)
				r.stream.take()

				faulty.Store(true)
				r.store.putDataplane(t, "a", dataplane("192.0.2.7", "api")) // version 4
				r.want(t, "a fault", "endpoints api")
				advance(2 * coalesce)
				r.store.putDataplane(t, "b", dataplane("192.0.2.8", "api")) // version 5
				r.want(t, "the other one", "endpoints api; proxy b v5/1")
				advance(2 * coalesce)
				if err := r.Connect(t.Context(), proxy.ID{Mesh: "default", Name: "a"}); err != nil {
					t.Errorf("a second stream of the faulty proxy: %v", err)
				}
				r.want(t, "a second stream", "proxy a v2/1")

				faulty.Store(false)
				r.store.putDataplane(t, "a", dataplane("192.0.2.9", "api")) // version 6
				r.want(t, "mended", "endpoints api; proxy a v6/1")
				r.stop()
				if n := strings.Count(logged.String(), "was not brought up to date"); n != 1 || !strings.Contains(logged.String(), "proxy=default.a") {
					t.Errorf("logged %d times:\n%s", n, logged.String())
				}
			})
		})
	}
}

func TestConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		r := newRig(t, func(c *Config) {
			good := c.Render
			c.Render = func(c *proxy.Config) []render.Part {
				if strings.HasPrefix(c.ID.Name, "v3/") {
					return one(func() (*render.Bundle, error) { return nil, broken })
				}
				return good(c)
			}
		})
		r.store.putDataplane(t, "a", dataplane("192.0.2.1", "api")) // version 2
		r.store.putDataplane(t, "b", dataplane("192.0.2.2", "api")) // version 3
		r.store.put(mesh.DataplaneKind, "nowhere", "a", dataplane("192.0.2.2", "api"))

		// A proxy that comes before the store was read waits for that.
		early := make(chan error, 1)
		go func() { early <- r.Connect(t.Context(), proxy.ID{Mesh: "default", Name: "a"}) }()
		synctest.Wait()
		select {
		case err := <-early:
			t.Fatalf("connected before there was a state: %v", err)
		default:
		}
		r.start(t)
		defer r.stop()
		if err := <-early; err != nil {
			t.Error(err)
		}
		r.want(t, "at start", "endpoints api; names [api.mesh]; proxy a v2/1")

		if err := r.Connect(t.Context(), proxy.ID{Mesh: "default", Name: "b"}); !errors.Is(err, xds.ErrBroken) || !errors.Is(err, broken) {
			t.Errorf("a proxy without a plan: %v", err)
		}
		for _, id := range []proxy.ID{{Mesh: "default", Name: "x"}, {Mesh: "x", Name: "a"}, {Mesh: "nowhere", Name: "a"}} {
			if err := r.Connect(t.Context(), id); !errors.Is(err, xds.ErrUnknown) || !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s: %v", id, err)
			}
		}

		// A dataplane that is stored, but has not come through the feed.
		r.store.pause()
		r.store.putDataplane(t, "new", dataplane("192.0.2.3", "api"))
		late := make(chan error, 1)
		go func() { late <- r.Connect(t.Context(), proxy.ID{Mesh: "default", Name: "new"}) }()
		synctest.Wait()
		select {
		case err := <-late:
			t.Fatalf("did not wait for the feed: %v", err)
		default:
		}
		r.store.resume()
		if err := <-late; err != nil {
			t.Error(err)
		}
		if got := r.stream.take(); !strings.Contains(got, "proxy new v5/1") {
			t.Errorf("published %q", got)
		}

		ctx, cancel := context.WithCancel(t.Context())
		r.store.pause()
		r.store.putDataplane(t, "newer", dataplane("192.0.2.4", "api"))
		cancel()
		if err := r.Connect(ctx, proxy.ID{Mesh: "default", Name: "newer"}); !errors.Is(err, context.Canceled) {
			t.Errorf("a proxy that left: %v", err)
		}
	})
}

func TestLostFeedIsListedAgainAndMovesOnlyWhatIsDifferent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.store.putDataplane(t, "a", dataplane("192.0.2.1", "api"))
		r.store.putDataplane(t, "b", dataplane("192.0.2.2", "db"))
		r.store.putDataplane(t, "c", dataplane("192.0.2.3", "web"))
		r.stream.connect("a")
		r.store.compacted = 1 // the first watch fails
		r.start(t)
		defer r.stop()
		advance(retry)
		r.want(t, "at start, at the second attempt", "endpoints api; endpoints db; endpoints web; names [api.mesh db.mesh web.mesh]; proxy a v2/3")

		plans := r.plans.Load()
		advance(time.Minute)
		r.store.lose()
		r.want(t, "nothing was missed", "")
		if n := r.plans.Load() - plans; n != 0 {
			t.Errorf("%d plans were made for nothing", n)
		}

		advance(time.Minute)
		r.store.pause() // what is missed
		r.store.putDataplane(t, "b", dataplane("192.0.2.22", "db"))
		r.store.delete(mesh.DataplaneKind, "default", "c")
		r.store.lose()
		r.want(t, "at once", "endpoints db; gone web; proxy a v2/2; names [api.mesh db.mesh]")

		r.store.putDataplane(t, "b", dataplane("192.0.2.23", "db"))
		r.want(t, "the new feed", "endpoints db")

		lists := r.store.listed()
		r.store.mu.Lock()
		r.store.failing = errors.New("disk on fire")
		r.store.mu.Unlock()
		r.store.lose()
		advance(10 * retry)
		synctest.Wait()
		if n := r.store.listed() - lists; n < 5 || n > 12 {
			t.Errorf("a store that fails was listed %d times in %s", n, 10*retry)
		}
		r.store.mu.Lock()
		r.store.failing = nil
		r.store.mu.Unlock()
		r.store.putDataplane(t, "a", dataplane("192.0.2.77", "api"))
		advance(2 * retry)
		r.want(t, "the store is back", "endpoints api; proxy a v8/2")
	})
}

// dns is a resolver with state.
type dns struct {
	mu      sync.Mutex
	answers map[string]netip.Addr
	asked   int
}

func (d *dns) resolve(_ context.Context, host string) (netip.Addr, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	if a, ok := d.answers[host]; ok {
		return a, nil
	}
	return netip.Addr{}, errors.New("no such host")
}

func (d *dns) set(host, addr string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.answers = map[string]netip.Addr{}; addr != "" {
		d.answers[host] = netip.MustParseAddr(addr)
	}
}

func (d *dns) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

func TestHostNamesAreResolvedAsLongAsThereAreAny(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names dns
		names.set("db.example", "192.0.2.50")
		r := newRig(t, func(c *Config) { c.Resolver = names.resolve })
		r.start(t)
		defer r.stop()
		advance(time.Hour)
		if n := names.count(); n != 0 {
			t.Errorf("asked %d times with no host name", n)
		}
		r.stream.take()
		address := func(want string) {
			t.Helper()
			e := plan.Endpoints(r.State().Mesh("default"), "db")[0]
			if len(e.Members) != 1 || e.Members[0].Address.Addr().String() != want {
				t.Errorf("members %v, want %s", e.Members, want)
			}
		}

		r.store.putDataplane(t, "db", dataplane("db.example", "db"))
		advance(coalesce)
		synctest.Wait()
		address("192.0.2.50")
		r.stream.take()
		names.set("db.example", "192.0.2.51")
		advance(reresolve)
		r.want(t, "a host that moved", "endpoints db")
		address("192.0.2.51")
		names.set("db.example", "")
		advance(3 * reresolve)
		r.want(t, "a host that cannot be found", "")
		address("192.0.2.51")
		r.store.delete(mesh.DataplaneKind, "default", "db")
		synctest.Wait()
		before := names.count()
		advance(time.Hour)
		if n := names.count() - before; n != 0 {
			t.Errorf("asked %d times after the last host name went", n)
		}
	})
}

// Revocations and signing keys are Secrets.
func TestChangedSecretsHaveTheirMeshJudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.store.putMesh("other")
		r.start(t)
		defer r.stop()
		r.store.putDataplane(t, "web", dataplane("192.0.2.1", "web"))
		r.store.put(mesh.SecretKind, "other", "dataplane-token-revocations-other", &mesh.Secret{})
		advance(coalesce)
		synctest.Wait()
		r.store.delete(mesh.SecretKind, "other", "dataplane-token-revocations-other")
		advance(coalesce)
		synctest.Wait()
		r.store.put(mesh.SecretKind, "other", "dataplane-token-spent-1", &mesh.Secret{}) // ends nobody
		advance(coalesce)
		synctest.Wait()
		r.stream.mu.Lock()
		defer r.stream.mu.Unlock()
		if got := fmt.Sprint(r.stream.judged); got != "[other other]" {
			t.Errorf("judged %s, want [other other]", got)
		}
	})
}
