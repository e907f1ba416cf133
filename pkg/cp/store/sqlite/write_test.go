package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/durable"
)

// TestBatch commits writes together: one that refuses and one that breaks do
// no harm to their neighbours.
func TestBatch(t *testing.T) {
	s := open(t, t.TempDir())
	broken := errors.New("broken")
	insert := func(name string) *durable.Write[change] {
		return &durable.Write[change]{What: func(ctx context.Context, x *tx) error {
			return x.append(ctx, &durable.Row{Kind: "Secret", Mesh: "default", Name: name, Labels: []byte("{}"), Spec: []byte("{}")}, 0)
		}}
	}
	failing := func(err error) *durable.Write[change] {
		return &durable.Write[change]{What: func(ctx context.Context, x *tx) error {
			if errors.Is(err, broken) { // half-way
				return errors.Join(insert("half").What(ctx, x), err)
			}
			return err
		}}
	}
	batch := []*durable.Write[change]{insert("a"), failing(store.ErrConflict), insert("b"), failing(broken), insert("c")}
	s.commit(t.Context(), batch)
	for i, want := range []error{nil, store.ErrConflict, nil, broken, nil} {
		if !errors.Is(batch[i].Err, want) {
			t.Errorf("write %d: error %v, want %v", i, batch[i].Err, want)
		}
	}
	wantNames(t, s, "a", "b", "c")
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

// BenchmarkGet is what a proxy's credential costs several times at each look.
func BenchmarkGet(b *testing.B) {
	s, err := Open(b.Context(), b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	stored, err := s.Put(b.Context(), secret("s", "x"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Get(b.Context(), stored.Key()); err != nil {
			b.Fatal(err)
		}
	}
}
