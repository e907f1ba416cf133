package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testpg"
	"github.com/weft-mesh/weft/internal/testtime"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(testtime.Wait)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %s until %s; last: %v", testtime.Wait, what, err)
		}
		<-tick.C
	}
}

func secret(name, data string) mesh.Resource {
	return mesh.Resource{Kind: mesh.SecretKind, Meta: mesh.Meta{Mesh: "default", Name: name}, Spec: &mesh.Secret{Data: []byte(data)}}
}

// TestAway stops the server beneath an open store in every way: a watch goes
// on, calls fail soon and with their kind, and all is well when it is back.
func TestAway(t *testing.T) {
	t.Parallel() // it waits most of the time
	pg := testpg.New(t, nil)
	pg.Start(t)
	s, err := Open(t.Context(), Options{DSN: pg.DSN(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	feed, err := s.Watch(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	written := 0
	write := func() error {
		_, err := s.Put(t.Context(), secret(fmt.Sprintf("s%d", written), "x"))
		return err
	}
	signal := func(sig syscall.Signal) func() {
		return func() { pg.Signal(t, sig) }
	}
	for _, test := range []struct {
		name       string
		stop, back func()
	}{
		{"stopped", func() { pg.Stop(t, syscall.SIGINT) }, func() { pg.Start(t) }},
		{"crashed", func() { pg.Stop(t, syscall.SIGQUIT) }, func() { pg.Start(t) }},
		{"hung", signal(syscall.SIGSTOP), signal(syscall.SIGCONT)},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.stop()
			eventually(t, "the store knows", func() error {
				if since, _ := s.Away(); since.IsZero() {
					return errors.New("it does not")
				}
				return nil
			})
			watch := testtime.Start(t)
			_, err := s.Get(t.Context(), secret("s", "").Key())
			wantUnavailable(t, err)
			_, err = s.List(t.Context(), store.Query{})
			wantUnavailable(t, err)
			wantUnavailable(t, write())
			if took := watch.Took(); took > time.Second {
				t.Errorf("it took %s to say that the store is away", took)
			}
			test.back()
			eventually(t, "writes are taken", write)
			written++
			select {
			case c, ok := <-feed:
				if !ok || c.Version != mesh.Version(written) {
					t.Fatalf("the watch says version %d (open %t), want %d", c.Version, ok, written)
				}
			case <-time.After(testtime.Wait):
				t.Fatal("the watch says nothing")
			}
		})
	}
	t.Run("no connection is left", func(t *testing.T) {
		pg.Exec(t, "ALTER SYSTEM SET max_connections = 12")
		pg.Stop(t, syscall.SIGINT)
		pg.Start(t)
		eventually(t, "writes are taken", write)
		written++
		<-feed
		// All that the administrator does not keep for himself.
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		n := 0
		for {
			c, err := dial(ctx, pg.DSN())
			if err != nil {
				break
			}
			defer c.Close(context.WithoutCancel(ctx))
			n++
		}
		if n == 0 {
			t.Fatal("the slots were gone before")
		}
		// The connections that it has are its own.
		if err := write(); err != nil {
			t.Errorf("a store with connections of its own: %v", err)
		}
		written++
	})
	t.Logf("F12: seed none, database stopped, crashed, hung, without a free slot: writes acknowledged %d, each told by the watch once", written)
}

func wantUnavailable(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("error is %v, want one that wraps %q", err, store.ErrUnavailable)
	}
}

// TestLead lets three lead after one another: by release, and by the silence of
// the one before, whose writes count no more.
func TestLead(t *testing.T) {
	t.Parallel() // it waits most of the time
	dsn := testpg.Schema(t)
	s := open(t, dsn)
	first, err := s.Lead(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	fenced := store.WithFence(t.Context(), first.Epoch())
	r, err := s.Put(fenced, secret("s", "a"))
	if err != nil {
		t.Fatalf("the leader's write: %v", err)
	}
	soon, cancel := context.WithTimeout(t.Context(), store.LeaseTime/6)
	if _, err := s.Lead(soon, "b"); err == nil {
		t.Fatal("two lead")
	}
	cancel()
	if err := first.Hold(t.Context()); err != nil {
		t.Errorf("the leader cannot hold on: %v", err)
	}
	began := time.Now()
	second, err := s.Lead(t.Context(), "b") // a says nothing from here on
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < store.LeaseTime/2 || took > 2*store.LeaseTime {
		t.Errorf("another one leads after %s of silence, the lease is %s", took, store.LeaseTime)
	}
	if second.Epoch() <= first.Epoch() {
		t.Errorf("epoch %d after %d", second.Epoch(), first.Epoch())
	}
	if err := first.Hold(t.Context()); err == nil {
		t.Error("the old leader holds on")
	}
	if _, err := s.Put(fenced, r); !errors.Is(err, store.ErrFenced) {
		t.Errorf("the old leader's write: error %v, want %q", err, store.ErrFenced)
	}
	if err := s.Delete(fenced, r.Key(), 0); !errors.Is(err, store.ErrFenced) {
		t.Errorf("the old leader's delete: error %v, want %q", err, store.ErrFenced)
	}
	if _, err := s.Put(t.Context(), r); err != nil {
		t.Errorf("a write of nobody in particular: %v", err)
	}
	t.Logf("F13: seed none, lease %s, another one leads after %s of silence; epochs %d, %d; writes of the old leader refused 2 of 2",
		store.LeaseTime, time.Since(began).Round(time.Millisecond), first.Epoch(), second.Epoch())
	second.Release()
	third, err := s.Lead(t.Context(), "c")
	if err != nil {
		t.Fatal(err)
	}
	third.Release()
}

// TestStoppedWriter leaves a transaction open that holds the lock of all
// writers: the server ends it.
func TestStoppedWriter(t *testing.T) {
	t.Parallel() // it waits most of the time
	dsn := testpg.Schema(t)
	s := open(t, dsn)
	tx, err := s.pool.Begin(t.Context())
	if err == nil {
		_, err = tx.Exec(t.Context(), "SELECT 1 FROM state FOR UPDATE")
	}
	if err != nil {
		t.Fatal(err)
	}
	watch := testtime.Start(t)
	if _, err := s.Put(t.Context(), secret("s", "x")); err != nil {
		t.Errorf("a write behind a writer that has stopped: %v", err)
	}
	if took := watch.Took(); took > abandoned+2*time.Second {
		t.Errorf("it took %s, the stopped one has %s", took, abandoned)
	}
	_ = tx.Rollback(context.WithoutCancel(t.Context()))
}

// TestFailover kills a server, and has the standby that confirmed its commits
// take its place: everything that was acknowledged is there, and a store that
// was told of both goes on.
func TestFailover(t *testing.T) {
	t.Parallel()
	first := testpg.New(t, nil)
	first.Start(t)
	second := first.Standby(t)
	second.Start(t)
	first.Exec(t, "ALTER SYSTEM SET synchronous_standby_names = '*'")
	first.Exec(t, "SELECT pg_reload_conf()")
	dsn := fmt.Sprintf("host=%s,%s port=5432,5432 user=weft dbname=postgres", second.Dir, first.Dir) // the standby is asked first
	s := open(t, dsn)
	feed, err := s.Watch(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	acked := 0
	write := func() error {
		_, err := s.Put(t.Context(), secret(fmt.Sprintf("s%d", acked), "x"))
		if err == nil {
			acked++
		}
		return err
	}
	for range 50 {
		if err := write(); err != nil {
			t.Fatal(err)
		}
	}
	first.Stop(t, syscall.SIGQUIT)
	wantUnavailable(t, write())
	began := time.Now()
	second.Exec(t, "SELECT pg_promote()")
	eventually(t, "writes are taken", write)
	t.Logf("F12: seed none, a standby promoted: writes acknowledged %d, lost 0, writes taken %s after the promotion", acked, time.Since(began).Round(time.Millisecond))
	for want := 1; want <= acked; want++ {
		select {
		case c, ok := <-feed:
			if !ok || c.Version != mesh.Version(want) {
				t.Fatalf("the watch says version %d (open %t), want %d", c.Version, ok, want)
			}
		case <-time.After(testtime.Wait):
			t.Fatalf("the watch says nothing of version %d", want)
		}
	}
}
