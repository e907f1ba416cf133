package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/internal/testpg"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/postgres"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

func TestMain(m *testing.M) { testpg.Main(m) }

const patience = time.Minute

func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %s until %s; last: %v", patience, what, err)
		}
		<-tick.C
	}
}

// A member is a replica whose proxies the test says.
type member struct {
	*Group
	mu      sync.Mutex
	proxies map[proxy.ID]mesh.DataplaneInsight
	work    *errgroup.Group
	leave   context.CancelFunc
}

func join(t *testing.T, board store.Board, name string, duties ...Duty) *member {
	t.Helper()
	m := &member{proxies: map[proxy.ID]mesh.DataplaneInsight{}}
	m.Group = New(Config{
		Board: board, Instance: name, Duties: duties, Log: slog.New(slog.DiscardHandler),
		Self: func() Replica { return Replica{Hosts: []string{name + ":5678"}} },
		Proxies: func() (ids []proxy.ID) {
			m.mu.Lock()
			defer m.mu.Unlock()
			for id := range m.proxies {
				ids = append(ids, id)
			}
			return ids
		},
		Insight: func(meshName, name string) mesh.DataplaneInsight {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.proxies[proxy.ID{Mesh: meshName, Name: name}]
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	m.leave = cancel
	m.work, ctx = errgroup.WithContext(ctx)
	m.work.Go(func() error { return m.Run(ctx) })
	t.Cleanup(func() { m.stop(t) })
	return m
}

func (m *member) stop(t *testing.T) {
	t.Helper()
	m.leave()
	if err := m.work.Wait(); err != nil {
		t.Error(err)
	}
}

func (m *member) has(name string, acked uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := proxy.ID{Mesh: "default", Name: name}
	if acked == 0 {
		delete(m.proxies, id)
		return
	}
	m.proxies[id] = mesh.DataplaneInsight{Subscriptions: []mesh.Subscription{{
		ConnectTime: time.Now().UTC(), Status: mesh.SubscriptionStatus{Total: mesh.Responses{Acknowledged: acked}},
	}}}
}

// acked is what a replica tells of a proxy elsewhere; 0: nothing.
func (m *member) acked(name string) uint64 {
	in, ok := m.Insight("default", name)
	if !ok {
		return 0
	}
	return in.Subscriptions[0].Status.Total.Acknowledged
}

func board(t *testing.T) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), postgres.Options{DSN: testpg.Schema(t), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestReplicasKnowEachOther(t *testing.T) {
	t.Parallel() // it waits most of the time
	s := board(t)
	a, b := join(t, s, "a"), join(t, s, "b")
	a.has("web.1", 1)
	wants := func(who *member, name string, acked uint64) {
		t.Helper()
		eventually(t, fmt.Sprintf("%s knows of %s", who.Instance, name), func() error {
			if got := who.acked(name); got != acked {
				return fmt.Errorf("acknowledged %d, want %d", got, acked)
			}
			return nil
		})
	}
	for _, who := range []*member{a, b} {
		eventually(t, who.Instance+" knows both", func() error {
			all := who.Replicas()
			if len(all) != 2 || all[0].Instance != who.Instance || len(all[1].Hosts) != 1 {
				return fmt.Errorf("it knows %+v", all)
			}
			return nil
		})
	}
	wants(b, "web.1", 1)
	if a.acked("web.1") != 0 {
		t.Error("a replica takes its own proxy for another's")
	}
	a.has("web.1", 2)
	wants(b, "web.1", 2)
	// It moves: both tell of it for a moment, and the newer stream counts.
	b.has("web.1", 3)
	a.has("web.1", 0)
	wants(a, "web.1", 3)
	wants(b, "web.1", 0)
	// Who goes takes along what he had.
	b.has("web.2", 5)
	wants(a, "web.2", 5)
	b.stop(t)
	wants(a, "web.2", 0)
	if all := a.Replicas(); len(all) != 1 {
		t.Errorf("a replica that is gone is told of: %+v", all)
	}
}

func TestOneDoesTheDuties(t *testing.T) {
	t.Parallel()
	s := board(t)
	var mu sync.Mutex
	did := map[string]int{}
	duty := func(name string) Duty {
		return Duty{Name: "count", Every: 10 * time.Millisecond, Run: func(ctx context.Context) error {
			_, err := s.Put(ctx, mesh.Resource{Kind: mesh.SecretKind, Meta: mesh.Meta{Mesh: "m", Name: fmt.Sprintf("%s-%d", name, time.Now().UnixNano())}, Spec: &mesh.Secret{}})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				did[name]++
			}
			return err
		}}
	}
	failing := Duty{Name: "fails", Every: time.Minute, Run: func(context.Context) error { panic("a fault of its own") }}
	members := map[string]*member{"a": join(t, s, "a", duty("a"), failing), "b": join(t, s, "b", duty("b"))}
	leader := func() (who string) {
		for name, m := range members {
			if m.Leader() {
				if who != "" {
					t.Fatal("two lead")
				}
				who = name
			}
		}
		return who
	}
	works := func(who string) {
		t.Helper()
		mu.Lock()
		before := did[who]
		mu.Unlock()
		eventually(t, who+" does its duty", func() error {
			mu.Lock()
			defer mu.Unlock()
			if did[who] <= before {
				return errors.New("it does not")
			}
			return nil
		})
	}
	var first string
	eventually(t, "one leads", func() error {
		if first = leader(); first == "" {
			return errors.New("nobody does")
		}
		return nil
	})
	works(first)
	members[first].stop(t)
	eventually(t, "the other one leads", func() error {
		if who := leader(); who == "" || who == first {
			return fmt.Errorf("%q leads", who)
		}
		return nil
	})
	works(leader())
}

func TestAlone(t *testing.T) {
	ran := make(chan struct{}, 100)
	m := join(t, nil, "a", Duty{Name: "d", Every: time.Minute, Run: func(context.Context) error {
		ran <- struct{}{}
		return nil
	}})
	<-ran
	if !m.Leader() || len(m.Replicas()) != 1 {
		t.Errorf("alone: leader %t, replicas %+v", m.Leader(), m.Replicas())
	}
}
