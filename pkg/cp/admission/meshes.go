package admission

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

func meshKey(name string) mesh.Key { return mesh.Key{Kind: mesh.MeshKind.Name, Name: name} }

// mesh returns what a mesh says; it fails with ErrNoMesh.
func (a *Admission) mesh(ctx context.Context, name string) (*mesh.MeshSpec, error) {
	r, err := a.Store.Get(ctx, meshKey(name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("mesh %q: %w", name, ErrNoMesh)
	}
	if err != nil {
		return nil, err
	}
	spec, ok := r.Spec.(*mesh.MeshSpec)
	if !ok {
		return nil, fmt.Errorf("%s is no mesh but %T", r.Key(), r.Spec)
	}
	return spec, nil
}

// prepareMesh makes what a mesh needs before anybody can see the mesh, so that
// nobody sees one without it. was is nil for a new one.
func (a *Admission) prepareMesh(ctx context.Context, r mesh.Resource, was mesh.Spec) error {
	if err := a.checkMesh(r.Meta.Name, r.Spec, was); err != nil {
		return err
	}
	if err := a.Authority.Ensure(ctx, r.Meta.Name, r.Spec.(*mesh.MeshSpec)); err != nil {
		return err
	}
	return a.Keys.Ensure(ctx, r.Meta.Name)
}

// checkMesh refuses what may not become of a mesh. was is nil for a new one.
func (a *Admission) checkMesh(name string, is, was mesh.Spec) error {
	now, ok := is.(*mesh.MeshSpec)
	if !ok {
		return fmt.Errorf("spec is %T, want a mesh", is)
	}
	old, ok := was.(*mesh.MeshSpec)
	if !ok {
		return nil
	}
	return a.checkBackends(name, now, old)
}

// checkBackends keeps a mesh from changing its authorities faster than its hosts
// can follow: they would refuse each other. Another one signs only once every
// host believes it, and one goes only once no host has a certificate of it.
func (a *Admission) checkBackends(name string, now, was *mesh.MeshSpec) error {
	signs, signed := now.Backend(), was.Backend()
	if signs == nil || signed == nil {
		return nil // mTLS goes on or off for all
	}
	if signs.Name != signed.Name && backendOf(was, signs.Name) == nil {
		return refused("mtls.enabledBackend",
			"cannot change from %q to %q at once: add %[2]q to mtls.backends first, enable it when `weftctl ca status` says that all hosts know it, and remove %[1]q when they all have its certificates", signed.Name, signs.Name)
	}
	var gone string
	for _, be := range was.MTLS.Backends {
		is := backendOf(now, be.Name)
		if is == nil {
			gone = be.Name
		} else if is.Type != be.Type || be.Type == "provided" && !reflect.DeepEqual(is.Conf, be.Conf) {
			return refused("mtls.backends", "%q cannot become another authority while mTLS is on: add the new one under another name, enable it, and remove %[1]q", be.Name)
		}
	}
	switch {
	case gone == signed.Name:
		return refused("mtls.backends", "cannot lose %q yet: hosts have certificates of it; enable another backend in one change, and remove this one in another", gone)
	case a.Settled == nil || signs.Name == signed.Name && gone == "":
		return nil
	}
	if err := a.Settled(name); err != nil {
		return refused("mtls", "cannot change its authorities yet: %s; `weftctl ca status` shows how far they are", err)
	}
	return nil
}

func backendOf(s *mesh.MeshSpec, name string) *mesh.MTLSBackend {
	if s.MTLS == nil {
		return nil
	}
	for i := range s.MTLS.Backends {
		if s.MTLS.Backends[i].Name == name {
			return &s.MTLS.Backends[i]
		}
	}
	return nil
}

// deleteMesh deletes the content of a mesh and then the mesh. When it is
// interrupted the mesh is still there, and deleting it again finishes the work.
func (a *Admission) deleteMesh(ctx context.Context, k mesh.Key, at mesh.Version) error {
	a.meshes.Lock()
	defer a.meshes.Unlock()
	r, err := a.Store.Get(ctx, k)
	if err != nil {
		return err
	}
	if at != 0 && at != r.Meta.Version {
		return fmt.Errorf("delete %s at version %d: %w", k, at, store.ErrConflict)
	}
	if err := a.checkDeserted(ctx, k); err != nil {
		return err
	}
	content, err := a.Store.List(ctx, store.Query{Mesh: k.Name})
	if err != nil {
		return fmt.Errorf("delete %s: %w", k, err)
	}
	for _, r := range content.Items {
		if err := a.Store.Delete(ctx, r.Key(), 0); err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("delete %s: %w", k, err)
		}
	}
	return a.Store.Delete(ctx, k, r.Meta.Version)
}

// checkDeserted refuses the deletion of a mesh that has dataplanes.
func (a *Admission) checkDeserted(ctx context.Context, k mesh.Key) error {
	dataplanes, err := a.Store.List(ctx, store.Query{Kind: mesh.DataplaneKind, Mesh: k.Name, Size: 1})
	if err != nil {
		return fmt.Errorf("delete %s: %w", k, err)
	}
	if n := dataplanes.Total; n > 0 {
		return fmt.Errorf("delete %s: %w", k, refused("mesh",
			"it still has %d dataplanes, such as %q: let their hosts leave, or delete them first", n, dataplanes.Items[0].Meta.Name))
	}
	return nil
}

// EnsureDefaultMesh makes the mesh "default", with mTLS on, unless there is
// one already.
func (a *Admission) EnsureDefaultMesh(ctx context.Context) error {
	const backend = "ca-1"
	_, err := a.PutAt(ctx, mesh.Resource{
		Kind: mesh.MeshKind,
		Meta: mesh.Meta{Name: "default"},
		Spec: &mesh.MeshSpec{MTLS: &mesh.MTLS{
			EnabledBackend: backend,
			Backends:       []mesh.MTLSBackend{{Name: backend, Type: "builtin"}},
		}},
	})
	if errors.Is(err, store.ErrConflict) {
		return nil
	}
	return err
}

// EnsureZone makes the Zone that this control plane is of, unless it is there.
func (a *Admission) EnsureZone(ctx context.Context) error {
	_, err := a.PutAt(ctx, mesh.Resource{Kind: mesh.ZoneKind, Meta: mesh.Meta{Name: a.zone()}, Spec: &mesh.Zone{}})
	if errors.Is(err, store.ErrConflict) {
		return nil
	}
	return err
}

// refused returns a violation that is an ErrRefused as well.
func refused(field, reason string, args ...any) error {
	var v mesh.Violations
	v.Add(field, reason, args...)
	return fmt.Errorf("%w: %w", ErrRefused, v)
}
