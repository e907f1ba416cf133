package sqlite

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/store"
)

// TestBatch commits writes together: one that refuses and one that breaks do
// no harm to their neighbours.
func TestBatch(t *testing.T) {
	s := open(t, t.TempDir())
	broken := errors.New("broken")
	insert := func(name string) *write {
		return &write{done: make(chan struct{}), run: func(ctx context.Context, x *tx) error {
			return x.append(ctx, &row{kind: "Secret", mesh: "default", name: name, labels: []byte("{}"), spec: []byte("{}")}, 0)
		}}
	}
	failing := func(err error) *write {
		return &write{done: make(chan struct{}), run: func(ctx context.Context, x *tx) error {
			if errors.Is(err, broken) { // half-way
				return errors.Join(insert("half").run(ctx, x), err)
			}
			return err
		}}
	}
	batch := []*write{insert("a"), failing(store.ErrConflict), insert("b"), failing(broken), insert("c")}
	s.commit(t.Context(), batch)
	for i, want := range []error{nil, store.ErrConflict, nil, broken, nil} {
		<-batch[i].done
		if !errors.Is(batch[i].err, want) {
			t.Errorf("write %d: error %v, want %v", i, batch[i].err, want)
		}
	}
	wantNames(t, s, "a", "b", "c")
}

// TestWritersShareACommit lets writers queue up while the turn is taken.
func TestWritersShareACommit(t *testing.T) {
	s := open(t, t.TempDir())
	s.queue.turn <- struct{}{} // somebody commits
	const writers = batchSize + 10
	results := make(chan error, writers)
	for i := range writers {
		go func() {
			_, err := s.Put(t.Context(), secret(fmt.Sprint(i), "x"))
			results <- err
		}()
	}
	waitQueued(t, s, writers)
	ring := s.bell.wait()
	s.commit(t.Context(), s.queue.take())
	<-ring
	page, err := s.List(t.Context(), store.Query{})
	if err != nil || page.Total != batchSize {
		t.Errorf("one commit wrote %d, %v; want %d", page.Total, err, batchSize)
	}
	<-s.queue.turn
	for range writers {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if page, err = s.List(t.Context(), store.Query{}); err != nil || page.Total != writers {
		t.Errorf("%d are stored, %v; want %d", page.Total, err, writers)
	}
}

func TestGivingUpInTheQueueWritesNothing(t *testing.T) {
	s := open(t, t.TempDir())
	s.queue.turn <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	given, kept := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := s.Put(ctx, secret("given-up", "x"))
		given <- err
	}()
	go func() {
		_, err := s.Put(t.Context(), secret("kept", "x"))
		kept <- err
	}()
	waitQueued(t, s, 2)
	cancel()
	if err := <-given; !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want context.Canceled", err)
	}
	<-s.queue.turn
	if err := <-kept; err != nil {
		t.Error(err)
	}
	wantNames(t, s, "kept")
}

func TestClockSetBack(t *testing.T) {
	s := open(t, t.TempDir())
	first, err := s.Put(t.Context(), secret("s", "x"))
	if err != nil {
		t.Fatal(err)
	}
	s.now = func() time.Time { return first.Meta.Modified.Add(-time.Hour) }
	second, err := s.Put(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	if second.Meta.Modified.Before(first.Meta.Modified) {
		t.Errorf("modified went back from %s to %s", first.Meta.Modified, second.Meta.Modified)
	}
}

// TestForgetting makes sure that nothing stays in the file that is neither
// current nor in the feed.
func TestForgetting(t *testing.T) {
	s := open(t, t.TempDir())
	s.feed = 5
	for i := range 4 {
		if _, err := s.Put(t.Context(), secret(fmt.Sprint(i), "x")); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 { // 0 lives outside of the feed when it is deleted
		busy, err := s.Get(t.Context(), secret("3", "").Key())
		if err == nil {
			_, err = s.Put(t.Context(), busy)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Delete(t.Context(), secret("0", "").Key(), 0); err != nil {
		t.Fatal(err)
	}
	var kept []string
	found, err := s.read.Query("SELECT name, revision FROM revisions ORDER BY revision")
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	for found.Next() {
		var name string
		var revision int
		if err := found.Scan(&name, &revision); err != nil {
			t.Fatal(err)
		}
		kept = append(kept, fmt.Sprint(name, "@", revision))
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	want := "1@2 2@3 3@11 3@12 3@13 3@14 0@15"
	if got := strings.Join(kept, " "); got != want {
		t.Errorf("the file holds %s, want %s", got, want)
	}
}

func waitQueued(t *testing.T, s *Store, n int) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		s.queue.mu.Lock()
		waiting := len(s.queue.waiting)
		s.queue.mu.Unlock()
		if waiting == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d writes wait, want %d", waiting, n)
		}
		runtime.Gosched()
	}
}

func wantNames(t *testing.T, s *Store, want ...string) {
	t.Helper()
	page, err := s.List(t.Context(), store.Query{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range page.Items {
		got = append(got, r.Meta.Name)
	}
	if !slices.Equal(got, want) || page.Total != len(want) {
		t.Errorf("the store holds %d: %v, want %v", page.Total, got, want)
	}
}

func BenchmarkPut(b *testing.B) {
	s, err := Open(b.Context(), b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	s.feed = 1000
	b.Run("alone", func(b *testing.B) {
		for i := range b.N {
			if _, err := s.Put(b.Context(), secret(fmt.Sprintf("alone-%d-%d", b.N, i), "x")); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("64 at once", func(b *testing.B) {
		b.SetParallelism(32)
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				if _, err := s.Put(b.Context(), secret(fmt.Sprintf("p-%d", time.Now().UnixNano()), "x")); err != nil && !errors.Is(err, store.ErrConflict) {
					b.Error(err)
				}
			}
		})
	})
}
