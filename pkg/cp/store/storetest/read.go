package storetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

func testListPages(t *testing.T, suite *suite) {
	s := suite.fresh(t)
	put(t, s, mesh.Resource{Kind: mesh.MeshKind, Meta: mesh.Meta{Name: "default"}, Spec: &mesh.MeshSpec{}})
	for _, at := range []string{"b/2", "a/z", "b/10", "a/A", "b/1", "a/a"} {
		r := permission(at[2:])
		r.Meta.Mesh = at[:1]
		put(t, s, r)
	}
	order := []string{"a/A", "a/a", "a/z", "b/1", "b/10", "b/2"}
	ofKind := store.Query{Kind: mesh.TrafficPermissionKind}
	wantSame(t, "order", names(list(t, s, ofKind).Items), order)
	wantSame(t, "order of all kinds", names(list(t, s, store.Query{}).Items), append([]string{"/default"}, order...))

	for size := 1; size <= 7; size++ {
		var got []string
		for offset := 0; ; offset += size {
			p := list(t, s, store.Query{Kind: mesh.TrafficPermissionKind, Offset: offset, Size: size})
			if p.Total != len(order) {
				t.Fatalf("total %d, want %d", p.Total, len(order))
			}
			if len(p.Items) == 0 {
				break
			}
			if len(p.Items) > size {
				t.Fatalf("%d items on a page of %d", len(p.Items), size)
			}
			got = append(got, names(p.Items)...)
		}
		wantSame(t, fmt.Sprintf("pages of %d", size), got, order)
	}
	if p := list(t, s, store.Query{Offset: 100, Size: 3}); len(p.Items) != 0 || p.Total != 7 {
		t.Errorf("beyond the end: %d items of %d, want 0 of 7", len(p.Items), p.Total)
	}
}

func testListFilters(t *testing.T, suite *suite) {
	s := suite.fresh(t)
	for name, labels := range map[string]map[string]string{
		"web-1": {"team": "a", "tier": "front"},
		"web-2": {"team": "a"},
		"api_1": {"team": "b", "tier": "front"},
		"Web-3": nil,
	} {
		r := permission(name)
		r.Meta.Labels = labels
		put(t, s, r)
	}
	other := permission("web-1")
	other.Meta.Mesh = "other"
	put(t, s, other)
	put(t, s, secret("web-1", nil))

	kind := mesh.TrafficPermissionKind
	for _, test := range []struct {
		name string
		q    store.Query
		want []string
	}{
		{"kind", store.Query{Kind: mesh.SecretKind}, []string{"default/web-1"}},
		{"mesh", store.Query{Kind: kind, Mesh: "other"}, []string{"other/web-1"}},
		{"part of the name", store.Query{Kind: kind, Name: "eb-"}, []string{"default/Web-3", "default/web-1", "default/web-2", "other/web-1"}},
		{"case counts", store.Query{Kind: kind, Name: "Web"}, []string{"default/Web-3"}},
		{"no pattern", store.Query{Kind: kind, Name: "_"}, []string{"default/api_1"}},
		{"no pattern either", store.Query{Kind: kind, Name: "%"}, nil},
		{"label", store.Query{Labels: map[string]string{"team": "a"}}, []string{"default/web-1", "default/web-2"}},
		{"both labels", store.Query{Labels: map[string]string{"team": "a", "tier": "front"}}, []string{"default/web-1"}},
		{"label exactly", store.Query{Labels: map[string]string{"tier": "fron"}}, nil},
		{"label of no value", store.Query{Labels: map[string]string{"absent": ""}}, nil},
		{"everything at once", store.Query{Kind: kind, Mesh: "default", Name: "1", Labels: map[string]string{"tier": "front"}, Offset: 1, Size: 1}, []string{"default/web-1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := list(t, s, test.q)
			wantSame(t, "items", names(p.Items), test.want)
			if want := len(test.want) + test.q.Offset; p.Total != want {
				t.Errorf("total %d, want %d", p.Total, want)
			}
		})
	}
}

// testReopen closes the store and opens it again: resources, versions, times
// and the change feed are as they were.
func testReopen(t *testing.T, suite *suite) {
	if suite.volatile {
		t.Skip("the store promises to keep nothing")
	}
	dir := t.TempDir()
	s := suite.open(t, dir)
	labelled := permission("kept", "web")
	labelled.Meta.Labels = map[string]string{"team": "a"}
	put(t, s, put(t, s, labelled))
	put(t, s, permission("gone"))
	remove(t, s, permission("gone").Key())
	put(t, s, secret("s", []byte{0, 1, 2}))
	before := list(t, s, store.Query{})
	closeStore(t, s)
	closeStore(t, s)

	s = suite.open(t, dir)
	wantSame(t, "the list", list(t, s, store.Query{}), before)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ch := watch(ctx, t, s, 0)
	var feed []string
	for range 5 {
		feed = append(feed, describe(receive(t, ch)))
	}
	wantSame(t, "the feed", feed, []string{"1 +kept", "2 +kept", "3 +gone", "4 -gone", "5 +s"})
	if next := put(t, s, permission("next")); next.Meta.Version != before.At+1 {
		t.Errorf("version %d after reopening at %d, want the next one", next.Meta.Version, before.At)
	}
	wantSame(t, "the live feed", describe(receive(t, ch)), "6 +next")
}
