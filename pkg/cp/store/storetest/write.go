package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

func testLife(t *testing.T, suite *suite) {
	s := suite.fresh(t)
	wanted := permission("p", "web")
	wanted.Meta.Labels = map[string]string{"team": "a"}

	created := put(t, s, wanted)
	if created.Meta.Version <= 0 {
		t.Errorf("version %d, want above 0", created.Meta.Version)
	}
	wantSame(t, "spec", created.Spec, wanted.Spec)
	wantSame(t, "labels", created.Meta.Labels, wanted.Meta.Labels)
	wantSame(t, "what Get returns", get(t, s, wanted.Key()), created)

	next := permission("p", "web", "api")
	next.Meta.Version = created.Meta.Version
	updated := put(t, s, next)
	if updated.Meta.Version <= created.Meta.Version {
		t.Errorf("version %d after %d, want a greater one", updated.Meta.Version, created.Meta.Version)
	}
	if updated.Meta.Labels != nil {
		t.Errorf("labels %v, want none: a put replaces them", updated.Meta.Labels)
	}
	wantSame(t, "what Get returns", get(t, s, wanted.Key()), updated)

	if err := s.Delete(t.Context(), wanted.Key(), updated.Meta.Version); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	_, err := s.Get(t.Context(), wanted.Key())
	wantErr(t, err, store.ErrNotFound)

	again := put(t, s, wanted)
	if again.Meta.Version <= updated.Meta.Version+1 {
		t.Errorf("version %d after a delete at %d, want a greater one", again.Meta.Version, updated.Meta.Version+1)
	}
}

func testAbsent(t *testing.T, suite *suite) {
	s := suite.fresh(t)
	k := permission("p").Key()
	_, err := s.Get(t.Context(), k)
	wantErr(t, err, store.ErrNotFound)
	wantErr(t, s.Delete(t.Context(), k, 0), store.ErrNotFound)
	wantErr(t, s.Delete(t.Context(), k, 7), store.ErrNotFound)
	if p := list(t, s, store.Query{}); p.Total != 0 || len(p.Items) != 0 || p.At != 0 {
		t.Errorf("an empty store lists %+v", p)
	}
	if _, err := s.Put(t.Context(), mesh.Resource{Kind: mesh.SecretKind}); err == nil {
		t.Error("Put took a resource without name and spec")
	}
	// The same name elsewhere is another resource.
	put(t, s, permission("p"))
	for _, other := range []mesh.Key{
		{Kind: k.Kind, Mesh: "other", Name: k.Name},
		{Kind: k.Kind, Mesh: k.Mesh, Name: "P"},
		{Kind: "Secret", Mesh: k.Mesh, Name: k.Name},
		{Kind: "Unknown", Mesh: k.Mesh, Name: k.Name},
	} {
		_, err := s.Get(t.Context(), other)
		wantErr(t, err, store.ErrNotFound)
	}
}

func testConflicts(t *testing.T, suite *suite) {
	s := suite.fresh(t)
	r := permission("p", "web")
	r.Meta.Version = 5
	_, err := s.Put(t.Context(), r)
	wantErr(t, err, store.ErrConflict) // there is none to replace

	r.Meta.Version = 0
	first := put(t, s, r)
	_, err = s.Put(t.Context(), r)
	wantErr(t, err, store.ErrConflict) // there is one already

	second := put(t, s, first)
	_, err = s.Put(t.Context(), first)
	wantErr(t, err, store.ErrConflict) // stale
	wantErr(t, s.Delete(t.Context(), r.Key(), first.Meta.Version), store.ErrConflict)
	wantSame(t, "what survived", get(t, s, r.Key()), second)

	remove(t, s, r.Key())
	_, err = s.Put(t.Context(), second)
	wantErr(t, err, store.ErrConflict) // deleted in between
	if p := list(t, s, store.Query{}); p.Total != 0 || p.At != second.Meta.Version+1 {
		t.Errorf("%d resources at version %d, want none at %d: a refused write leaves no trace", p.Total, p.At, second.Meta.Version+1)
	}
}

func testCopies(t *testing.T, suite *suite) {
	s := suite.fresh(t)
	r := secret("s", []byte("before"))
	r.Meta.Labels = map[string]string{"a": "before"}
	stored := put(t, s, r)
	for _, mine := range []mesh.Resource{r, stored, get(t, s, r.Key()), list(t, s, store.Query{}).Items[0]} {
		mine.Meta.Labels["a"] = "after"
		copy(mine.Spec.(*mesh.Secret).Data, "after!")
	}
	now := get(t, s, r.Key())
	if got := string(now.Spec.(*mesh.Secret).Data) + now.Meta.Labels["a"]; got != "beforebefore" {
		t.Errorf("changing one's own copy changed the stored one: %s", got)
	}
}

// testNoLostUpdate lets writers append to one resource, each with the version
// he read: in the end everybody's entries are there.
func testNoLostUpdate(t *testing.T, suite *suite) {
	s := suite.fresh(t)
	const writers, each = 8, 20
	put(t, s, permission("p"))
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := 0; i < each; {
				r, err := s.Get(t.Context(), permission("p").Key())
				if err != nil {
					t.Errorf("Get: %v", err)
					return
				}
				spec := r.Spec.(*mesh.TrafficPermission)
				spec.Sources = append(spec.Sources, mesh.Selector{Match: mesh.Tags{"entry": fmt.Sprintf("%d-%d", w, i)}})
				switch _, err := s.Put(t.Context(), r); {
				case err == nil:
					i++
				case !errors.Is(err, store.ErrConflict):
					t.Errorf("Put: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]int{}
	for _, source := range get(t, s, permission("p").Key()).Spec.(*mesh.TrafficPermission).Sources {
		seen[source.Match["entry"]]++
	}
	for w := range writers {
		for i := range each {
			if entry := fmt.Sprintf("%d-%d", w, i); seen[entry] != 1 {
				t.Errorf("entry %s is there %d times, want once", entry, seen[entry])
			}
		}
	}
}

func testOneCreator(t *testing.T, suite *suite) {
	s := suite.fresh(t)
	var won atomic.Int32
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			switch _, err := s.Put(t.Context(), permission("p", fmt.Sprint(w))); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, store.ErrConflict):
				t.Errorf("Put: %v", err)
			}
		})
	}
	wg.Wait()
	if n := won.Load(); n != 1 {
		t.Errorf("%d of 16 creators succeeded, want 1", n)
	}
	var gone atomic.Int32
	for range 16 {
		wg.Go(func() {
			switch err := s.Delete(t.Context(), permission("p").Key(), 0); {
			case err == nil:
				gone.Add(1)
			case !errors.Is(err, store.ErrNotFound):
				t.Errorf("Delete: %v", err)
			}
		})
	}
	wg.Wait()
	if n := gone.Load(); n != 1 {
		t.Errorf("%d of 16 deletes succeeded, want 1", n)
	}
}

func testTimes(t *testing.T, suite *suite) {
	s := suite.fresh(t)
	before := time.Now()
	r := permission("p")
	r.Meta.Created, r.Meta.Modified = time.Unix(1, 0), time.Unix(2, 0) // the store knows better
	last := put(t, s, r)
	if last.Meta.Created.Before(before) || last.Meta.Created.After(time.Now()) {
		t.Errorf("created at %s, want now", last.Meta.Created)
	}
	if !last.Meta.Modified.Equal(last.Meta.Created) {
		t.Errorf("modified %s, want as created %s", last.Meta.Modified, last.Meta.Created)
	}
	created := last.Meta.Created
	for range 20 {
		next := put(t, s, last)
		if !next.Meta.Created.Equal(created) {
			t.Errorf("created became %s, was %s", next.Meta.Created, created)
		}
		if next.Meta.Modified.Before(last.Meta.Modified) {
			t.Errorf("modified went back from %s to %s", last.Meta.Modified, next.Meta.Modified)
		}
		if next.Meta.Created.Location() != time.UTC || next.Meta.Modified.Location() != time.UTC {
			t.Errorf("times are not UTC: %s, %s", next.Meta.Created, next.Meta.Modified)
		}
		last = next
	}
}

func testUnicode(t *testing.T, suite *suite) {
	s := suite.fresh(t)
	for i, text := range []string{
		"z\u00fcrich", "\u65e5\u672c\u8a9e", "\U0001f578 web", "<a href=\"x\">&amp;</a>", "O'Brien; DROP TABLE current--",
		`back\slash "quote" $.x[0]`, "tab\tnew\nline\u2028", "100%_like",
	} {
		r := permission(fmt.Sprintf("p%d-%s", i, text), text)
		r.Meta.Mesh = text
		r.Meta.Labels = map[string]string{text: text, "other": "x"}
		stored := put(t, s, r)
		wantSame(t, "stored "+text, get(t, s, r.Key()), stored)
		wantSame(t, "spec of "+text, stored.Spec, r.Spec)
		wantSame(t, "labels of "+text, stored.Meta.Labels, r.Meta.Labels)
		for _, q := range []store.Query{{Name: text}, {Mesh: text}, {Labels: map[string]string{text: text}}} {
			if p := list(t, s, q); len(p.Items) != 1 || p.Items[0].Meta.Name != r.Meta.Name {
				t.Errorf("List(%+v) found %q, want %q alone", q, names(p.Items), r.Meta.Name)
			}
		}
		remove(t, s, r.Key())
	}
}

func testLarge(t *testing.T, suite *suite) {
	s := suite.fresh(t)
	data := bytes.Repeat([]byte{0, 1, 0xff, 'x'}, 1<<18) // 1 MiB
	r := secret("large", data)
	put(t, s, r)
	if got := get(t, s, r.Key()).Spec.(*mesh.Secret).Data; !bytes.Equal(got, data) {
		t.Errorf("%d bytes came back, want the %d that were put", len(got), len(data))
	}
}

func testCancelled(t *testing.T, suite *suite) {
	s := suite.fresh(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Put(ctx, permission("p"))
	wantErr(t, err, context.Canceled)
	put(t, s, permission("p"))
	wantErr(t, s.Delete(ctx, permission("p").Key(), 0), context.Canceled)
	get(t, s, permission("p").Key())
}
