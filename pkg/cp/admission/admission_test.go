package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/memory"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// An ensurer stands for the authority and the keys: what it makes is a Secret
// in the mesh.
type ensurer struct {
	store *memory.Store
	err   error
}

func (e *ensurer) make(ctx context.Context, in, name string) error {
	if e.err != nil {
		return e.err
	}
	_, err := e.store.Put(ctx, mesh.Resource{Kind: mesh.SecretKind, Meta: mesh.Meta{Mesh: in, Name: name}, Spec: &mesh.Secret{}})
	if errors.Is(err, store.ErrConflict) {
		return nil
	}
	return err
}

type testAuthority struct{ ensurer }

func (a *testAuthority) Ensure(ctx context.Context, in string, spec *mesh.MeshSpec) error {
	if spec.Backend() == nil {
		return nil
	}
	return a.make(ctx, in, "ca-"+spec.Backend().Name)
}

type testKeys struct{ ensurer }

func (k *testKeys) Ensure(ctx context.Context, in string) error { return k.make(ctx, in, "key") }

type fixture struct {
	*Admission
	authority *testAuthority
	keys      *testKeys
}

// newFixture has a mesh "default" as a new control plane has.
func newFixture(t *testing.T) fixture {
	t.Helper()
	s := memory.New()
	t.Cleanup(func() { _ = s.Close() })
	f := fixture{authority: &testAuthority{ensurer{store: s}}, keys: &testKeys{ensurer{store: s}}}
	f.Admission = &Admission{Store: s, Authority: f.authority, Keys: f.keys}
	if err := f.EnsureDefaultMesh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f
}

// contents lists what the store has, as "kind mesh/name".
func (f fixture) contents(t *testing.T) string {
	t.Helper()
	page, err := f.Store.List(t.Context(), store.Query{})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, r := range page.Items {
		all = append(all, r.Kind.Name+" "+r.Meta.Mesh+"/"+r.Meta.Name)
	}
	return strings.Join(all, ", ")
}

func (f fixture) put(t *testing.T, r mesh.Resource) Result {
	t.Helper()
	result, err := f.Put(t.Context(), r)
	if err != nil {
		t.Fatalf("Put(%s): %v", r.Key(), err)
	}
	return result
}

func dataplane(name string, tags ...mesh.Tags) mesh.Resource {
	dp := &mesh.Dataplane{Networking: mesh.DataplaneNetworking{Address: "192.0.2.1"}}
	for i, t := range tags {
		dp.Networking.Inbound = append(dp.Networking.Inbound, mesh.Inbound{Port: uint32(8080 + i), Tags: t})
	}
	return mesh.Resource{Kind: mesh.DataplaneKind, Meta: mesh.Meta{Mesh: "default", Name: name}, Spec: dp}
}

func permission(in, name string) mesh.Resource {
	all := []mesh.Selector{{Match: mesh.Tags{mesh.ServiceTag: "*"}}}
	return mesh.Resource{
		Kind: mesh.TrafficPermissionKind,
		Meta: mesh.Meta{Mesh: in, Name: name},
		Spec: &mesh.TrafficPermission{Sources: all, Destinations: all},
	}
}

func meshWith(name, backend string) mesh.Resource {
	spec := &mesh.MeshSpec{}
	if backend != "" {
		spec.MTLS = &mesh.MTLS{EnabledBackend: backend, Backends: []mesh.MTLSBackend{{Name: backend, Type: "builtin"}}}
	}
	return mesh.Resource{Kind: mesh.MeshKind, Meta: mesh.Meta{Name: name}, Spec: spec}
}

// say prints all that a resource says.
func say(t *testing.T, r mesh.Resource) string {
	t.Helper()
	data, err := json.Marshal([]any{r.Meta, r.Spec})
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func wantErr(t *testing.T, err, want error, words ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want one that wraps %q", err, want)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q lacks %q", err, w)
		}
	}
}

// Nobody takes the control plane's own authority from it.
func TestOwnIsKept(t *testing.T) {
	own := mesh.Resource{Kind: mesh.GlobalSecretKind, Meta: mesh.Meta{Name: "own"}, Spec: &mesh.Secret{Data: []byte("x")}}
	s := memory.New()
	if _, err := s.Put(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	a := &Admission{Store: s, Own: own.Key()}
	_, put := a.Put(t.Context(), own)
	_, preview := a.PreviewDelete(t.Context(), own.Key(), 0)
	for what, err := range map[string]error{"put": put, "preview of a deletion": preview, "delete": a.Delete(t.Context(), own.Key())} {
		if !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v, want a refusal", what, err)
		}
	}
}

func TestDataplaneIsCompleted(t *testing.T) {
	f := newFixture(t)
	web := mesh.Tags{mesh.ServiceTag: "web"}
	gateway := dataplane("gw")
	gateway.Spec.(*mesh.Dataplane).Networking.Gateway = &mesh.Gateway{Tags: mesh.Tags{mesh.ServiceTag: "gw"}}
	labelled := dataplane("labelled", web)
	labelled.Meta.Labels = map[string]string{"team": "a", "kuma.io/zone": "east"}
	computed := func(more ...string) map[string]string {
		all := map[string]string{
			"kuma.io/env": "universal", "kuma.io/mesh": "default", "kuma.io/origin": "zone",
			"kuma.io/zone": "default", "kuma.io/proxy-type": "sidecar",
		}
		for i := 0; i < len(more); i += 2 {
			all[more[i]] = more[i+1]
		}
		return all
	}
	for _, test := range []struct {
		r        mesh.Resource
		tags     []mesh.Tags
		labels   map[string]string
		warnings []string
	}{
		{
			r:      dataplane("plain", web, mesh.Tags{mesh.ServiceTag: "api"}),
			tags:   []mesh.Tags{{mesh.ServiceTag: "web", mesh.ZoneTag: "default"}, {mesh.ServiceTag: "api", mesh.ZoneTag: "default"}},
			labels: computed(),
		},
		{
			r:        dataplane("elsewhere", mesh.Tags{mesh.ServiceTag: "web", mesh.ZoneTag: "east"}),
			tags:     []mesh.Tags{{mesh.ServiceTag: "web", mesh.ZoneTag: "default"}},
			labels:   computed(),
			warnings: []string{`networking.inbound[0].tags["kuma.io/zone"] is set by the control plane: "east" was replaced by "default"`},
		},
		{
			r:      gateway,
			tags:   []mesh.Tags{{mesh.ServiceTag: "gw", mesh.ZoneTag: "default"}},
			labels: computed("kuma.io/proxy-type", "gateway"),
		},
		{
			r:        labelled,
			tags:     []mesh.Tags{{mesh.ServiceTag: "web", mesh.ZoneTag: "default"}},
			labels:   computed("team", "a"),
			warnings: []string{`label kuma.io/zone is set by the control plane: "east" was replaced by "default"`},
		},
	} {
		t.Run(test.r.Meta.Name, func(t *testing.T) {
			before := say(t, test.r)
			result := f.put(t, test.r)
			if after := say(t, test.r); after != before {
				t.Errorf("the resource that was passed became %s, was %s", after, before)
			}
			n := result.Resource.Spec.(*mesh.Dataplane).Networking
			var tags []mesh.Tags
			for _, in := range n.Inbound {
				tags = append(tags, in.Tags)
			}
			if n.Gateway != nil {
				tags = append(tags, n.Gateway.Tags)
			}
			got := []any{tags, result.Resource.Meta.Labels, result.Warnings, result.Created}
			if d := cmp.Diff([]any{test.tags, test.labels, test.warnings, true}, got); d != "" {
				t.Errorf("tags, labels, warnings, created differ (-want +got):\n%s", d)
			}
			// What was given out may be put again.
			again := f.put(t, mesh.Resource{
				Kind: test.r.Kind,
				Meta: mesh.Meta{Mesh: "default", Name: test.r.Meta.Name, Labels: result.Resource.Meta.Labels},
				Spec: result.Resource.Spec,
			})
			if !again.Unchanged || len(again.Warnings) != 0 {
				t.Errorf("putting what was got: unchanged %t, warnings %v", again.Unchanged, again.Warnings)
			}
		})
	}
}

func TestLabelsOfOthers(t *testing.T) {
	f := newFixture(t)
	if got := f.put(t, permission("default", "p")).Resource.Meta.Labels; !cmp.Equal(got, map[string]string{"kuma.io/mesh": "default"}) {
		t.Errorf("labels of a permission are %v", got)
	}
	if got := f.put(t, meshWith("m", "")).Resource.Meta.Labels; len(got) != 0 {
		t.Errorf("labels of a mesh are %v, want none", got)
	}
}

func TestPutTwice(t *testing.T) {
	f := newFixture(t)
	r := dataplane("web-1", mesh.Tags{mesh.ServiceTag: "web"})
	first := f.put(t, r)
	if !first.Created || first.Unchanged {
		t.Errorf("first: %+v, want created", first)
	}
	second := f.put(t, r)
	if second.Created || !second.Unchanged || second.Resource.Meta.Version != first.Resource.Meta.Version {
		t.Errorf("equal content: %+v, want unchanged at version %d", second, first.Resource.Meta.Version)
	}
	third := f.put(t, dataplane("web-1", mesh.Tags{mesh.ServiceTag: "other"}))
	if third.Created || third.Unchanged || third.Resource.Meta.Version <= first.Resource.Meta.Version {
		t.Errorf("other content: %+v, want a newer version", third)
	}
	if !third.Resource.Meta.Created.Equal(first.Resource.Meta.Created) {
		t.Errorf("created became %s, was %s", third.Resource.Meta.Created, first.Resource.Meta.Created)
	}
	labelled := dataplane("web-1", mesh.Tags{mesh.ServiceTag: "other"})
	labelled.Meta.Labels = map[string]string{"team": "a"}
	if fourth := f.put(t, labelled); fourth.Unchanged {
		t.Error("another label counts as no change")
	}
}

func TestInvalidIsRefusedAtOnce(t *testing.T) {
	f := newFixture(t)
	before := f.contents(t)
	bad := dataplane("Not A Name", mesh.Tags{"version": "1"})
	bad.Meta.Labels = map[string]string{"a b": "c"}
	_, err := f.Put(t.Context(), bad)
	wantErr(t, err, mesh.ErrInvalid, "name", "labels", mesh.ServiceTag)
	_, err = f.Put(t.Context(), mesh.Resource{Kind: mesh.MeshKind, Meta: mesh.Meta{Name: "m", Mesh: "m"}, Spec: &mesh.MeshSpec{}})
	wantErr(t, err, mesh.ErrInvalid, "mesh")
	if after := f.contents(t); after != before {
		t.Errorf("the store became %s, was %s", after, before)
	}
}

func TestNoMesh(t *testing.T) {
	f := newFixture(t)
	_, err := f.Put(t.Context(), permission("nope", "p"))
	wantErr(t, err, ErrNoMesh, `"nope"`)
}

func TestConstraints(t *testing.T) {
	f := newFixture(t)
	m := meshWith("default", "ca-1")
	m.Spec.(*mesh.MeshSpec).Constraints = &mesh.Constraints{DataplaneProxy: &mesh.DataplaneConstraints{
		Requirements: []mesh.TagRule{{Tags: mesh.Tags{"team": "*", mesh.ZoneTag: "default"}}},
	}}
	f.put(t, m)
	_, err := f.Put(t.Context(), dataplane("web-1", mesh.Tags{mesh.ServiceTag: "web"}))
	wantErr(t, err, mesh.ErrInvalid, "networking.inbound[0].tags", "team")
	// The zone that is required is the one that is added.
	f.put(t, dataplane("web-1", mesh.Tags{mesh.ServiceTag: "web", "team": "a"}))
}

func TestPutAt(t *testing.T) {
	f := newFixture(t)
	r := permission("default", "p")
	first, err := f.PutAt(t.Context(), r)
	if err != nil || !first.Created {
		t.Fatalf("PutAt where there is none: %+v, %v", first, err)
	}
	_, err = f.PutAt(t.Context(), r)
	wantErr(t, err, store.ErrConflict) // though equal: the caller believed that there is none
	r.Meta.Version = first.Resource.Meta.Version + 1
	_, err = f.Put(t.Context(), r)
	wantErr(t, err, store.ErrConflict)
	r.Meta.Version = first.Resource.Meta.Version
	r.Spec = &mesh.TrafficPermission{
		Sources:      []mesh.Selector{{Match: mesh.Tags{"a": "b"}}},
		Destinations: []mesh.Selector{{Match: mesh.Tags{"a": "b"}}},
	}
	if _, err := f.Put(t.Context(), r); err != nil {
		t.Error(err)
	}
}

func TestCurrent(t *testing.T) {
	f := newFixture(t)
	k := permission("default", "p").Key()
	if _, found, err := f.Current(t.Context(), k); found || err != nil {
		t.Errorf("Current of nothing: %t, %v", found, err)
	}
	stored := f.put(t, permission("default", "p")).Resource
	if r, found, err := f.Current(t.Context(), k); !found || err != nil || r.Meta.Version != stored.Meta.Version {
		t.Errorf("Current: %+v, %t, %v", r, found, err)
	}
}

// TestOvertaken puts one resource from many sides: nobody sees a conflict.
func TestOvertaken(t *testing.T) {
	f := newFixture(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	created := 0
	for i := range 8 {
		wg.Go(func() {
			result, err := f.Put(t.Context(), dataplane("web-1", mesh.Tags{mesh.ServiceTag: fmt.Sprintf("web-%d", i)}))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if result.Created {
				created++
			}
		})
	}
	wg.Wait()
	if created != 1 {
		t.Errorf("%d puts created it, want 1", created)
	}
}

func TestPreview(t *testing.T) {
	f := newFixture(t)
	before := f.contents(t)
	m := mesh.Resource{Kind: mesh.MeshKind, Meta: mesh.Meta{Name: "m"}, Spec: &mesh.MeshSpec{MTLS: &mesh.MTLS{
		EnabledBackend: "b", Backends: []mesh.MTLSBackend{{Name: "b", Type: "builtin"}},
	}}}
	switch got, err := f.Preview(t.Context(), m); {
	case err != nil:
		t.Fatal(err)
	case !got.Created || got.Unchanged || got.Resource.Meta.Version != 0:
		t.Errorf("preview of a new mesh is %+v", got)
	}
	if after := f.contents(t); after != before {
		t.Errorf("the preview left %s, before there was %s", after, before)
	}
	if _, err := f.Put(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Preview(t.Context(), m); err != nil || got.Created || !got.Unchanged {
		t.Errorf("preview of what is there is %+v, %v", got, err)
	}
	other := m
	other.Spec = &mesh.MeshSpec{MTLS: &mesh.MTLS{EnabledBackend: "c", Backends: []mesh.MTLSBackend{{Name: "c", Type: "builtin"}}}}
	if _, err := f.Preview(t.Context(), other); !errors.Is(err, ErrRefused) {
		t.Errorf("preview of another authority: %v", err)
	}
	if got, err := f.PreviewDelete(t.Context(), m.Key(), 0); err != nil || got.Meta.Name != "m" {
		t.Errorf("preview of a deletion is %+v, %v", got, err)
	}
	if _, err := f.PreviewDelete(t.Context(), m.Key(), 99); !errors.Is(err, store.ErrConflict) {
		t.Errorf("preview of a deletion at another version: %v", err)
	}
}
