package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/fakeenvoy"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/xds"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

type anybody struct{}

func (anybody) Proxy(context.Context, proxy.ID) error      { return nil }
func (anybody) ProxyAgain(context.Context, proxy.ID) error { return nil }

// pipeline is every stage from the store to the stream, and a connection to it.
type pipeline struct {
	*Publisher
	store *memory
	xds   *xds.Server
	conn  *grpc.ClientConn
}

// newPipeline starts over a store that holds what fill puts.
func newPipeline(t *testing.T, fill ...func(*memory)) *pipeline {
	t.Helper()
	l := &pipeline{store: newMemory()}
	l.store.putMesh("default")
	for _, f := range fill {
		f(l.store)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	l.xds = xds.New(xds.Config{Auth: anybody{}, Log: log, Connect: func(ctx context.Context, id proxy.ID) error { return l.Connect(ctx, id) }})
	l.Publisher = New(Config{Store: l.store, Stream: l.xds, Log: log})

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(xds.ServerOptions()...)
	l.xds.Register(g)
	ctx, cancel := context.WithCancel(context.Background())
	served, ran := make(chan error, 1), make(chan error, 1)
	go func() { served <- g.Serve(listener) }()
	go func() { ran <- l.Run(ctx) }()
	t.Cleanup(func() {
		g.Stop()
		cancel()
		if err := errors.Join(<-served, <-ran); err != nil {
			t.Error(err)
		}
	})
	l.conn, err = grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.conn.Close() })
	return l
}

func (l *pipeline) open(t *testing.T, name string, opt fakeenvoy.Options) *fakeenvoy.Client {
	t.Helper()
	opt.Node = "default." + name
	return fakeenvoy.Open(t, l.conn, opt)
}

func TestFromStoreToProxy(t *testing.T) {
	for _, sotw := range []bool{false, true} {
		t.Run(fmt.Sprintf("world=%t", sotw), func(t *testing.T) {
			l := newPipeline(t)
			l.store.putDataplane(t, "web", dataplane("192.0.2.1", "web", "api"))
			l.store.putDataplane(t, "api-1", dataplane("192.0.2.2", "api"))
			web := l.open(t, "web", fakeenvoy.Options{World: sotw, Names: true})
			web.Wait(t, "the api and its name", func(s fakeenvoy.State) bool {
				at, _ := s.Endpoints("api")
				return slices.Equal(at, []string{"192.0.2.2:8080"}) && len(s.Warming) == 0 &&
					s.Has(fakeenvoy.Routes, "outbound:api") && strings.Contains(s.String(), "name api.mesh 2")
			})

			// An instance comes: one assignment, nothing else, whoever looks.
			before := web.State()
			l.store.putDataplane(t, "api-2", dataplane("192.0.2.3", "api"))
			s := web.Wait(t, "the second instance", func(s fakeenvoy.State) bool { at, _ := s.Endpoints("api"); return len(at) == 2 })
			for _, typeURL := range []string{fakeenvoy.Clusters, fakeenvoy.Listeners, fakeenvoy.Routes, fakeenvoy.Names} {
				if s.Count(typeURL) != before.Count(typeURL) {
					t.Errorf("an instance moved %s:\n%s", typeURL, s)
				}
			}
			if got := s.Count(fakeenvoy.Endpoints) - before.Count(fakeenvoy.Endpoints); got != 1 {
				t.Errorf("%d responses with endpoints", got)
			}

			// All instances go: the cluster stays usable, without members.
			l.store.delete(mesh.DataplaneKind, "default", "api-1")
			l.store.delete(mesh.DataplaneKind, "default", "api-2")
			web.Wait(t, "no instance", func(s fakeenvoy.State) bool { at, ok := s.Endpoints("api"); return ok && len(at) == 0 })

			// The dataplane goes: its stream ends, and is not opened again.
			l.store.delete(mesh.DataplaneKind, "default", "web")
			if err := web.WaitEnd(t); status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), `Dataplane "web" in mesh "default"`) {
				t.Errorf("ended with %v", err)
			}
			if err := l.open(t, "web", fakeenvoy.Options{World: sotw}).WaitEnd(t); status.Code(err) != codes.NotFound {
				t.Errorf("a new stream ended with %v", err)
			}
		})
	}
}

func TestControlPlaneThatStartsAnewTakesNothingAway(t *testing.T) {
	stored := func(m *memory) {
		m.putDataplane(t, "web", dataplane("192.0.2.1", "web", "api"))
		m.putDataplane(t, "api", dataplane("192.0.2.2", "api"))
	}
	l := newPipeline(t, stored)
	complete := func(s fakeenvoy.State) bool {
		return len(s.Warming) == 0 && s.Has(fakeenvoy.Endpoints, "api") && s.Has(fakeenvoy.Names, "names") && len(s.Resources[fakeenvoy.Routes]) > 0
	}
	c := l.open(t, "web", fakeenvoy.Options{Names: true})
	c.Wait(t, "everything", complete)
	held, state := c.Held(), c.State()
	c.Close()

	next := newPipeline(t, stored) // another process, the same store
	again := next.open(t, "web", fakeenvoy.Options{Held: held, Bare: true})
	for typeURL, m := range state.Resources {
		var names []string
		if typeURL != fakeenvoy.Clusters && typeURL != fakeenvoy.Listeners {
			for name := range m {
				names = append(names, name)
			}
		}
		again.Ask(typeURL, names...)
	}
	again.Wait(t, "answers to the two that Envoy waits for", func(s fakeenvoy.State) bool {
		return s.Count(fakeenvoy.Clusters) == 1 && s.Count(fakeenvoy.Listeners) == 1
	})
	next.store.putDataplane(t, "more", dataplane("192.0.2.3", "api"))
	s := again.Wait(t, "the mark", func(s fakeenvoy.State) bool { at, _ := s.Endpoints("api"); return len(at) == 2 })
	for _, r := range s.Responses {
		if len(r.Removed) > 0 || len(r.Names) > 0 && r.Type != fakeenvoy.Endpoints {
			t.Errorf("resent or removed: %+v", r)
		}
	}
}

func TestStages(t *testing.T) {
	l := newPipeline(t)
	l.store.putDataplane(t, "web", dataplane("192.0.2.1", "web", "api"))
	l.store.putDataplane(t, "idle", dataplane("192.0.2.4", "idle"))
	c := l.open(t, "web", fakeenvoy.Options{})
	c.Wait(t, "its listeners", func(s fakeenvoy.State) bool { return len(s.Resources[fakeenvoy.Listeners]) > 0 })

	for _, tt := range []struct{ name, stage, want string }{
		{"web", "resource", "192.0.2.1"},
		{"web", "plan", "service: web"},
		{"web", "render", "192.0.2.1"},
		{"web", "stream", "connected: true"},
		{"web", "stream", "type: listeners"},
		{"idle", "plan", "service: idle"},
		{"idle", "stream", "connected: false"},
	} {
		b, err := l.Stage(t.Context(), "default", tt.name, tt.stage)
		if err != nil || !strings.Contains(string(b), tt.want) {
			t.Errorf("stage %s of %s: %v\n%s\nwant %q", tt.stage, tt.name, err, b, tt.want)
		}
	}
	if _, err := l.Stage(t.Context(), "default", "absent", "plan"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a dataplane that there is not: %v", err)
	}
	_, err := l.Stage(t.Context(), "default", "web", "config")
	if !errors.Is(err, mesh.ErrInvalid) || !strings.Contains(err.Error(), strings.Join(Stages(), ", ")) {
		t.Errorf("a stage that there is not: %v", err)
	}
}

func TestMetrics(t *testing.T) {
	l := newPipeline(t)
	l.store.putDataplane(t, "web", dataplane("192.0.2.1", "web"))
	c := l.open(t, "web", fakeenvoy.Options{})
	c.Wait(t, "its listeners", func(s fakeenvoy.State) bool { return len(s.Resources[fakeenvoy.Listeners]) > 0 })
	reg := prometheus.NewRegistry()
	reg.MustRegister(append(l.Metrics(), l.xds.Metrics()...)...)
	deadline := time.After(time.Minute)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				got[f.GetName()] += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
		if got["weft_publish_replans_total"] >= 1 && got["weft_publish_seconds"] >= 1 && got["weft_xds_connected_proxies"] == 1 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("metrics: %v", got)
		}
	}
}
