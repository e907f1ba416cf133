package admission

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// Every example can be put, and who puts what has no effect yet is told so.
func TestExamples(t *testing.T) {
	f := newFixture(t)
	files, err := filepath.Glob("../../../docs/examples/*.yaml")
	if err != nil || len(files) < 40 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r, err := api.Decode(data)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		result, err := f.Put(t.Context(), r)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		told := strings.Contains(strings.Join(result.Warnings, "\n"), "has no effect yet")
		if told != (r.Kind.Pending != "") {
			t.Errorf("%s: warnings %q, the kind says %q", file, result.Warnings, r.Kind.Pending)
		}
		if again := f.put(t, result.Resource); !again.Unchanged {
			t.Errorf("%s: is another one when it is put as it was got: %+v", file, again.Resource)
		}
	}
}

func TestLabels(t *testing.T) {
	f := newFixture(t)
	f.Zone = "east"
	mesh1 := func(k *mesh.Kind, spec mesh.Spec) mesh.Resource {
		return mesh.Resource{Kind: k, Meta: mesh.Meta{Mesh: "default", Name: "x"}, Spec: spec}
	}
	ingress := dataplane("x")
	ingress.Spec.(*mesh.Dataplane).Networking.Listeners = []mesh.Listener{{Type: "ZoneIngress", Address: "192.0.2.1", Port: 10001}}
	for _, c := range []struct {
		r    mesh.Resource
		want map[string]string
	}{
		{permission("default", "x"), map[string]string{"kuma.io/mesh": "default"}},
		{mesh.Resource{Kind: mesh.ZoneKind, Meta: mesh.Meta{Name: "x"}, Spec: &mesh.Zone{}}, nil},
		{mesh1(mesh.WorkloadKind, &mesh.Workload{}), map[string]string{
			"kuma.io/mesh": "default", "kuma.io/zone": "east", "kuma.io/origin": "zone", "kuma.io/env": "universal",
		}},
		{mesh1(mesh.MeshServiceKind, &mesh.MeshService{}), map[string]string{
			"kuma.io/mesh": "default", "kuma.io/zone": "east", "kuma.io/origin": "zone", "kuma.io/env": "universal", "kuma.io/display-name": "x",
		}},
		{ingress, map[string]string{
			"kuma.io/mesh": "default", "kuma.io/zone": "east", "kuma.io/origin": "zone", "kuma.io/env": "universal",
			"kuma.io/proxy-type": "sidecar", "kuma.io/listener-zoneingress": "enabled",
		}},
	} {
		if d := cmp.Diff(c.want, f.put(t, c.r).Resource.Meta.Labels); d != "" {
			t.Errorf("labels of a %s differ (-want +got):\n%s", c.r.Kind.Name, d)
		}
	}
	for label, r := range map[string]mesh.Resource{
		mesh.WorkloadLabel: dataplane("y", mesh.Tags{mesh.ServiceTag: "web"}),
		mesh.EffectLabel:   permission("default", "y"),
	} {
		r.Meta.Labels = map[string]string{label: "UP_1"}
		if _, err := f.Put(t.Context(), r); !errors.Is(err, mesh.ErrInvalid) || !strings.Contains(err.Error(), label) {
			t.Errorf("label %s of a %s: %v", label, r.Kind.Name, err)
		}
	}
}

func TestNamesOfHosts(t *testing.T) {
	f := newFixture(t)
	for name, warned := range map[string]bool{"api": false, "api.v1": true, "1api": true} {
		r := mesh.Resource{Kind: mesh.MeshServiceKind, Meta: mesh.Meta{Mesh: "default", Name: name}, Spec: &mesh.MeshService{}}
		if got := strings.Contains(strings.Join(f.put(t, r).Warnings, "\n"), "host name"); got != warned {
			t.Errorf("a MeshService %q: warned %t, want %t", name, got, warned)
		}
	}
}

func TestZoneOfItsOwn(t *testing.T) {
	f := newFixture(t)
	f.Zone = "east"
	key := mesh.Key{Kind: "Zone", Name: "east"}
	for range 2 {
		if err := f.EnsureZone(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, found, err := f.Current(t.Context(), key); err != nil || !found {
		t.Errorf("there is no %s: %v", key, err)
	}
	if err := f.Delete(t.Context(), key); !errors.Is(err, ErrRefused) {
		t.Errorf("its own zone can be deleted: %v", err)
	}
	if _, err := f.PreviewDelete(t.Context(), key, 0); !errors.Is(err, ErrRefused) {
		t.Errorf("its own zone could be deleted: %v", err)
	}
	other := mesh.Resource{Kind: mesh.ZoneKind, Meta: mesh.Meta{Name: "west"}, Spec: &mesh.Zone{}}
	f.put(t, other)
	if err := f.Delete(t.Context(), other.Key()); err != nil {
		t.Errorf("another zone: %v", err)
	}
}

// What an authority is made of stays as long as the mesh names the authority.
func TestDeleteSecret(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{mesh.CAKeySecret("default", "ca-1"), mesh.CACertSecret("default", "ca-1"), "free"} {
		r := mesh.Resource{Kind: mesh.SecretKind, Meta: mesh.Meta{Mesh: "default", Name: name}, Spec: &mesh.Secret{}}
		f.put(t, r)
		_, preview := f.PreviewDelete(t.Context(), r.Key(), 0)
		err := f.Delete(t.Context(), r.Key())
		if used := name != "free"; errors.Is(err, ErrRefused) != used || errors.Is(preview, ErrRefused) != used {
			t.Errorf("delete %s: %v, preview %v", name, err, preview)
		}
	}
	f.put(t, meshWith("default", ""))
	if err := f.Delete(t.Context(), mesh.Key{Kind: "Secret", Mesh: "default", Name: mesh.CAKeySecret("default", "ca-1")}); err != nil {
		t.Errorf("delete the key of an authority that is gone: %v", err)
	}
}
