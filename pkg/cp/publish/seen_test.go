package publish

import (
	"errors"
	"testing"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/xds"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// judge notes what can be seen when streams are to be judged.
type judge struct {
	Stream
	told func(mesh string)
}

func (j *judge) Judge(mesh string) { j.told(mesh) }

func TestSeen(t *testing.T) {
	stream := &judge{Stream: xds.New(xds.Config{})}
	p := New(Config{Store: newMemory(), Stream: stream})
	version := mesh.Version(0)
	put := func(kind *mesh.Kind, meshName, name string, spec mesh.Spec) {
		version++
		r := &mesh.Resource{Kind: kind, Meta: mesh.Meta{Mesh: meshName, Name: name, Version: version}, Spec: spec}
		p.apply([]store.Change{{Key: r.Key(), Version: version, Now: r}})
	}
	if _, err := p.Seen(t.Context(), mesh.Key{}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("before the store was read: %v", err)
	}
	put(mesh.MeshKind, "", "default", &mesh.MeshSpec{})
	put(mesh.DataplaneKind, "default", "web-1", dataplane("192.0.2.1", "web"))
	seen := func(kind *mesh.Kind, meshName, name string) bool {
		r, err := p.Seen(t.Context(), mesh.Key{Kind: kind.Name, Mesh: meshName, Name: name})
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Error(err)
		}
		return err == nil && r.Meta.Name == name
	}
	if !seen(mesh.DataplaneKind, "default", "web-1") || seen(mesh.DataplaneKind, "default", "web-2") || seen(mesh.DataplaneKind, "other", "web-1") {
		t.Error("not just the dataplane that is there is seen")
	}
	for _, c := range []struct {
		kind *mesh.Kind
		mesh string
		name string
		want bool
	}{
		{mesh.SecretKind, "default", "dataplane-token-signing-key-default-1", true},
		{mesh.SecretKind, "default", "dataplane-token-revocations-default", true},
		{mesh.SecretKind, "default", "dataplane-evictions-default", true},
		{mesh.GlobalSecretKind, "", "dataplane-token-revocations-default", true},
		{mesh.SecretKind, "default", "dataplane-token-spent-a", false},
		{mesh.SecretKind, "default", "my-own", false},
	} {
		if seen(c.kind, c.mesh, c.name) {
			t.Errorf("%s is seen before it is there", c.name)
		}
		judged := false
		stream.told = func(string) { judged = seen(c.kind, c.mesh, c.name) }
		put(c.kind, c.mesh, c.name, &mesh.Secret{})
		if judged != c.want || seen(c.kind, c.mesh, c.name) != c.want {
			t.Errorf("%s: seen when it is judged by: %t, afterwards: %t", c.name, judged, seen(c.kind, c.mesh, c.name))
		}
	}
}
