package admission

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

func TestDefaultMesh(t *testing.T) {
	f := newFixture(t)
	if got, want := f.contents(t), "Mesh /default, Secret default/ca-ca-1, Secret default/key"; got != want {
		t.Errorf("a new store holds %s, want %s", got, want)
	}
	r, _, err := f.Current(t.Context(), meshKey("default"))
	if err != nil || r.Spec.(*mesh.MeshSpec).Backend() == nil {
		t.Errorf("mesh default is %+v, %v, want one with mTLS", r.Spec, err)
	}
	changed := f.put(t, meshWith("default", "")).Resource
	if err := f.EnsureDefaultMesh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r, _, _ := f.Current(t.Context(), meshKey("default")); r.Meta.Version != changed.Meta.Version {
		t.Errorf("EnsureDefaultMesh wrote over the mesh that was there: %+v", r.Spec)
	}
}

// TestMeshComesLast makes sure that no mesh is to be seen without its
// authority and key.
func TestMeshComesLast(t *testing.T) {
	for name, breakIt := range map[string]func(fixture, error){
		"authority": func(f fixture, err error) { f.authority.err = err },
		"keys":      func(f fixture, err error) { f.keys.err = err },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			broken := errors.New("no entropy")
			breakIt(f, broken)
			_, err := f.Put(t.Context(), meshWith("second", "ca-1"))
			wantErr(t, err, broken, "second")
			if _, found, _ := f.Current(t.Context(), meshKey("second")); found {
				t.Error("the mesh is there")
			}
			breakIt(f, nil)
			f.put(t, meshWith("second", "ca-1"))
			for _, secret := range []string{"ca-ca-1", "key"} {
				if _, found, _ := f.Current(t.Context(), mesh.Key{Kind: "Secret", Mesh: "second", Name: secret}); !found {
					t.Errorf("the mesh has no secret %s", secret)
				}
			}
		})
	}
}

func TestBackendStays(t *testing.T) {
	f := newFixture(t)
	_, err := f.Put(t.Context(), meshWith("default", "ca-2"))
	wantErr(t, err, ErrRefused, "mtls.enabledBackend", `"ca-1"`, `"ca-2"`, "add \"ca-2\" to mtls.backends first")
	wantErr(t, err, mesh.ErrInvalid)
	if v, ok := errors.AsType[mesh.Violations](err); !ok || v[0].Field != "mtls.enabledBackend" {
		t.Errorf("violations are %v", v)
	}
	if _, found, _ := f.Current(t.Context(), mesh.Key{Kind: "Secret", Mesh: "default", Name: "ca-ca-2"}); found {
		t.Error("the refused authority was made")
	}
	f.put(t, meshWith("default", ""))
	f.put(t, meshWith("default", "ca-2"))
	if _, found, _ := f.Current(t.Context(), mesh.Key{Kind: "Secret", Mesh: "default", Name: "ca-ca-2"}); !found {
		t.Error("turning mTLS on again made no authority")
	}
}

func TestDeleteMesh(t *testing.T) {
	f := newFixture(t)
	f.put(t, meshWith("second", "ca-1"))
	for _, in := range []string{"default", "second"} {
		f.put(t, permission(in, "p"))
		dp := dataplane("web-1", mesh.Tags{mesh.ServiceTag: "web"})
		dp.Meta.Mesh = in
		f.put(t, dp)
	}
	full := f.contents(t)
	wantErr(t, f.Delete(t.Context(), meshKey("second")), ErrRefused, "1 dataplanes", `"web-1"`, "delete them first")
	if got := f.contents(t); got != full {
		t.Errorf("a refused delete left %s, want %s", got, full)
	}
	if err := f.Delete(t.Context(), mesh.Key{Kind: "Dataplane", Mesh: "second", Name: "web-1"}); err != nil {
		t.Fatal(err)
	}
	wantErr(t, f.DeleteAt(t.Context(), meshKey("second"), 1), store.ErrConflict)
	if err := f.Delete(t.Context(), meshKey("second")); err != nil {
		t.Fatal(err)
	}
	want := "Mesh /default, Secret default/ca-ca-1, Secret default/key, TrafficPermission default/p, Dataplane default/web-1"
	if got := f.contents(t); got != want {
		t.Errorf("left are %s, want %s", got, want)
	}
	wantErr(t, f.Delete(t.Context(), meshKey("second")), store.ErrNotFound)
	wantErr(t, f.Delete(t.Context(), permission("default", "absent").Key()), store.ErrNotFound)
}

// TestDeleteMeshUnderPuts deletes a mesh while dataplanes and policies are put
// into it: whatever the order, nothing is left in a mesh that is gone.
func TestDeleteMeshUnderPuts(t *testing.T) {
	f := newFixture(t)
	for range 30 {
		f.put(t, meshWith("second", "ca-1"))
		var wg sync.WaitGroup
		for _, name := range []string{"a", "b", "c"} {
			wg.Go(func() {
				if _, err := f.Put(t.Context(), permission("second", name)); err != nil && !errors.Is(err, ErrNoMesh) {
					t.Error(err)
				}
			})
		}
		wg.Go(func() {
			if err := f.Delete(t.Context(), meshKey("second")); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		page, err := f.Store.List(t.Context(), store.Query{Mesh: "second"})
		if err != nil || page.Total != 0 {
			t.Fatalf("%d resources are left in a mesh that is gone, %v", page.Total, err)
		}
	}
}

// Hosts that lack an authority, or have certificates of it, are not cut off.
func TestAuthoritiesChangeNoFasterThanHosts(t *testing.T) {
	f := newFixture(t)
	var unsettled error
	f.Settled = func(string) error { return unsettled }
	with := func(enabled string, names ...string) mesh.Resource {
		spec := &mesh.MeshSpec{MTLS: &mesh.MTLS{EnabledBackend: enabled}}
		for _, n := range names {
			be := mesh.MTLSBackend{Name: n, Type: "builtin"}
			if key, ok := strings.CutPrefix(n, "theirs-"); ok {
				be = mesh.MTLSBackend{Name: "theirs", Type: "provided", Conf: &mesh.BackendConf{
					Cert: &mesh.DataSource{Secret: "cert"}, Key: &mesh.DataSource{Secret: key},
				}}
			}
			spec.MTLS.Backends = append(spec.MTLS.Backends, be)
		}
		return mesh.Resource{Kind: mesh.MeshKind, Meta: mesh.Meta{Name: "default"}, Spec: spec}
	}
	refuse := func(r mesh.Resource, words ...string) {
		t.Helper()
		_, err := f.Put(t.Context(), r)
		wantErr(t, err, ErrRefused, words...)
	}
	f.put(t, with("ca-1", "ca-1", "theirs-a"))
	unsettled = errors.New("1 of 3 connected hosts do not yet trust it, such as web-1")
	refuse(with("theirs", "ca-1", "theirs-a"), "mtls", "such as web-1", "weftctl ca status")
	refuse(with("ca-1", "ca-1"), "such as web-1")
	refuse(with("ca-1", "ca-1", "theirs-b"), `"theirs" cannot become another authority`)
	refuse(with("theirs", "theirs-a"), `cannot lose "ca-1" yet`)
	f.put(t, with("ca-1", "ca-1", "theirs-a", "ca-3")) // one more waits for nobody
	unsettled = nil
	f.put(t, with("theirs", "ca-1", "theirs-a", "ca-3"))
	f.put(t, with("theirs", "theirs-a"))
	f.put(t, with("")) // off, for all of the mesh at once
}
