package admission

import (
	"context"
	"errors"
	"fmt"

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
	if err := checkMesh(r.Spec, was); err != nil {
		return err
	}
	if err := a.Authority.Ensure(ctx, r.Meta.Name, r.Spec.(*mesh.MeshSpec)); err != nil {
		return err
	}
	return a.Keys.Ensure(ctx, r.Meta.Name)
}

// checkMesh refuses what may not become of a mesh. was is nil for a new one.
func checkMesh(is, was mesh.Spec) error {
	now, ok := is.(*mesh.MeshSpec)
	if !ok {
		return fmt.Errorf("spec is %T, want a mesh", is)
	}
	old, ok := was.(*mesh.MeshSpec)
	if !ok {
		return nil
	}
	return checkBackend(now.Backend(), old.Backend())
}

// checkBackend keeps a mesh from changing its authority while proxies trust
// the old one: they would all refuse each other.
func checkBackend(now, was *mesh.MTLSBackend) error {
	if now == nil || was == nil || now.Name == was.Name {
		return nil
	}
	return refused("mtls.enabledBackend",
		"cannot change from %q to %q while mTLS is on: set it to \"\" first, which turns mTLS off for all of the mesh", was.Name, now.Name)
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

// refused returns a violation that is an ErrRefused as well.
func refused(field, reason string, args ...any) error {
	var v mesh.Violations
	v.Add(field, reason, args...)
	return fmt.Errorf("%w: %w", ErrRefused, v)
}
