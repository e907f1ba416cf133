package mirror

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/memory"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// A distant store is away when the test says so.
type distant struct {
	*memory.Store
	since time.Time
}

func (d *distant) Away() (time.Time, error) { return d.since, store.ErrUnavailable }

func (d *distant) err() error {
	if d.since.IsZero() {
		return nil
	}
	return fmt.Errorf("reading: %w", store.ErrUnavailable)
}

func (d *distant) Get(ctx context.Context, k mesh.Key) (mesh.Resource, error) {
	if err := d.err(); err != nil {
		return mesh.Resource{}, err
	}
	return d.Store.Get(ctx, k)
}

func (d *distant) List(ctx context.Context, q store.Query) (store.Page, error) {
	if err := d.err(); err != nil {
		return store.Page{}, err
	}
	return d.Store.List(ctx, q)
}

func secret(in, name string, labels map[string]string) mesh.Resource {
	return mesh.Resource{Kind: mesh.SecretKind, Meta: mesh.Meta{Mesh: in, Name: name, Labels: labels}, Spec: &mesh.Secret{Data: []byte(name)}}
}

// TestAnswersAreThoseOfTheStore asks the same while the store is there and
// while it is away.
func TestAnswersAreThoseOfTheStore(t *testing.T) {
	ctx := t.Context()
	d := &distant{Store: memory.New()}
	m := New(d)
	put := func(r mesh.Resource) mesh.Resource {
		t.Helper()
		stored, err := m.Put(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		return stored
	}
	put(secret("a", "listed", nil))
	gone := put(secret("a", "gone", nil))
	page, err := m.List(ctx, store.Query{})
	if err != nil {
		t.Fatal(err)
	}
	feed, err := m.Watch(ctx, page.At)
	if err != nil {
		t.Fatal(err)
	}
	put(secret("b", "z-fed", map[string]string{"team": "x"}))
	put(secret("b", "fed", map[string]string{"team": "x", "tier": "1"}))
	if err := m.Delete(ctx, gone.Key(), 0); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		<-feed
	}
	keys := []mesh.Key{secret("a", "listed", nil).Key(), secret("b", "fed", nil).Key(), gone.Key(), secret("c", "none", nil).Key()}
	queries := []store.Query{
		{Mesh: "b"}, {Name: "fed"}, {Kind: mesh.SecretKind}, {Kind: mesh.MeshKind}, {Labels: map[string]string{"team": "x"}},
		{Labels: map[string]string{"team": "x", "tier": "1"}}, {Offset: 1, Size: 1}, {Offset: 9, Size: 1}, {Size: 2},
	}
	ask := func() (answers []string) {
		for _, k := range keys {
			r, err := m.Get(ctx, k)
			answers = append(answers, fmt.Sprint(r.Meta, errors.Is(err, store.ErrNotFound), err == nil))
		}
		for _, q := range queries {
			p, err := m.List(ctx, q)
			text := fmt.Sprint(p.Total, p.At, err)
			for _, r := range p.Items {
				text += fmt.Sprint(" ", r.Meta)
			}
			answers = append(answers, text)
		}
		return answers
	}
	there := ask()
	if since := m.Stale(); !since.IsZero() {
		t.Errorf("stale since %s while the store is there", since)
	}
	d.since = time.Now()
	if diff := cmp.Diff(there, ask()); diff != "" {
		t.Errorf("answers differ while the store is away (-there +away):\n%s", diff)
	}
	if m.Stale() != d.since {
		t.Error("it does not say that answers are old")
	}
	// What may have come meanwhile is not denied, and who begins anew waits.
	_, err = m.Get(ctx, mesh.Key{Kind: mesh.DataplaneKind.Name, Mesh: "a", Name: "new"})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a dataplane that is not known: %v", err)
	}
	if _, err := m.List(ctx, store.Query{}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a list of everything: %v", err)
	}
}

func TestKnowsNothingYet(t *testing.T) {
	m := New(&distant{Store: memory.New(), since: time.Now()})
	_, err := m.Get(t.Context(), secret("a", "s", nil).Key())
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Get: %v", err)
	}
	if _, err := m.List(t.Context(), store.Query{Mesh: "a"}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("List: %v", err)
	}
}
