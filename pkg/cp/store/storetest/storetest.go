// Package storetest says by tests what the control plane expects of a store.
// Every store passes it.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

// A suite is what the tests know about the store they test.
type suite struct {
	open     func(t *testing.T, dir string) store.Store
	volatile bool
	feed     int
}

// An Option tells the suite how a store differs.
type Option func(*suite)

// Volatile is for stores that keep nothing when they are closed.
func Volatile(s *suite) { s.volatile = true }

// Feed tells how many changes the opened stores keep for their watchers. With
// it the suite tests what happens to those who come too late. Keep it small
// but above 200.
func Feed(n int) Option { return func(s *suite) { s.feed = n } }

// Run tests the store that open opens in dir. open makes sure that the store
// is closed at the end of the test; the suite closes it earlier where it
// reopens, so closing twice must be harmless.
func Run(t *testing.T, open func(t *testing.T, dir string) store.Store, options ...Option) {
	s := &suite{open: open}
	for _, o := range options {
		o(s)
	}
	tests := []struct {
		name string
		run  func(*testing.T, *suite)
	}{
		{"put get delete", testLife},
		{"nothing there", testAbsent},
		{"conflicts", testConflicts},
		{"callers keep their copies", testCopies},
		{"no lost update", testNoLostUpdate},
		{"one creator wins", testOneCreator},
		{"times", testTimes},
		{"any text", testUnicode},
		{"large value", testLarge},
		{"cancelled", testCancelled},
		{"list order and pages", testListPages},
		{"list filters", testListFilters},
		{"list then watch", testListThenWatch},
		{"watch from anywhere", testWatchFromAnywhere},
		{"watch while writers run", testWatchUnderWrites},
		{"watch ends", testWatchEnds},
		{"watch from the future", testWatchFuture},
		{"watch too late", testCompacted},
		{"slow watcher", testSlowWatcher},
		{"closed", testClosed},
		{"reopen", testReopen},
		{"many", testMany},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, s) })
	}
}

func (s *suite) fresh(t *testing.T) store.Store { return s.open(t, t.TempDir()) }

func permission(name string, sources ...string) mesh.Resource {
	spec := &mesh.TrafficPermission{}
	for _, service := range sources {
		spec.Sources = append(spec.Sources, mesh.Selector{Match: mesh.Tags{mesh.ServiceTag: service}})
	}
	return mesh.Resource{
		Kind: mesh.TrafficPermissionKind,
		Meta: mesh.Meta{Mesh: "default", Name: name},
		Spec: spec,
	}
}

func secret(name string, data []byte) mesh.Resource {
	return mesh.Resource{
		Kind: mesh.SecretKind,
		Meta: mesh.Meta{Mesh: "default", Name: name},
		Spec: &mesh.Secret{Data: data},
	}
}

func put(t *testing.T, s store.Store, r mesh.Resource) mesh.Resource {
	t.Helper()
	stored, err := s.Put(t.Context(), r)
	if err != nil {
		t.Fatalf("Put(%s): %v", r.Key(), err)
	}
	return stored
}

func get(t *testing.T, s store.Store, k mesh.Key) mesh.Resource {
	t.Helper()
	r, err := s.Get(t.Context(), k)
	if err != nil {
		t.Fatalf("Get(%s): %v", k, err)
	}
	return r
}

func remove(t *testing.T, s store.Store, k mesh.Key) {
	t.Helper()
	if err := s.Delete(t.Context(), k, 0); err != nil {
		t.Fatalf("Delete(%s): %v", k, err)
	}
}

func list(t *testing.T, s store.Store, q store.Query) store.Page {
	t.Helper()
	p, err := s.List(t.Context(), q)
	if err != nil {
		t.Fatalf("List(%+v): %v", q, err)
	}
	return p
}

func watch(ctx context.Context, t *testing.T, s store.Store, from mesh.Version) <-chan store.Change {
	t.Helper()
	ch, err := s.Watch(ctx, from)
	if err != nil {
		t.Fatalf("Watch(%d): %v", from, err)
	}
	return ch
}

// receive waits for the next change.
func receive(t *testing.T, ch <-chan store.Change) store.Change {
	t.Helper()
	select {
	case c, ok := <-ch:
		if !ok {
			t.Fatal("the watch ended, want another change")
		}
		return c
	case <-time.After(patience):
		t.Fatal("no change arrived")
	}
	panic("unreachable")
}

// drained waits until the channel closes.
func drained(t *testing.T, ch <-chan store.Change) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case _, ok := <-ch:
			if !ok {
				return
			}
		case <-deadline:
			t.Fatal("the watch did not end")
		}
	}
}

func closeStore(t *testing.T, s store.Store) {
	t.Helper()
	c, ok := s.(io.Closer)
	if !ok {
		t.Fatalf("%T has no Close", s)
	}
	if err := c.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error is %v, want one that wraps %q", err, want)
	}
}

func wantSame(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b *mesh.Kind) bool { return a == b })); d != "" {
		t.Errorf("%s differs (-want +got):\n%s", what, d)
	}
}

func names(rs []mesh.Resource) []string {
	var all []string
	for _, r := range rs {
		all = append(all, r.Meta.Mesh+"/"+r.Meta.Name)
	}
	return all
}

// describe makes a change comparable and short.
func describe(c store.Change) string {
	if c.Now == nil {
		return fmt.Sprintf("%d -%s", c.Version, c.Key.Name)
	}
	return fmt.Sprintf("%d +%s", c.Version, c.Key.Name)
}
