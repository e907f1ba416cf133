package admission

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// Delete deletes what is stored under k: see DeleteAt.
func (a *Admission) Delete(ctx context.Context, k mesh.Key) error { return a.DeleteAt(ctx, k, 0) }

// DeleteAt deletes what is stored under k if it has the version at; 0 means
// whatever there is. It fails with store.ErrNotFound and store.ErrConflict. A
// mesh goes with everything in it. With ErrRefused it keeps a mesh that has
// dataplanes, a Secret that its mesh's authority is made of, and the zone of
// this control plane.
func (a *Admission) DeleteAt(ctx context.Context, k mesh.Key, at mesh.Version) error {
	if err := a.checkOwn(k); err != nil {
		return fmt.Errorf("delete %s: %w", k, err)
	}
	switch k.Kind {
	case mesh.MeshKind.Name:
		return a.deleteMesh(ctx, k, at)
	case mesh.ZoneKind.Name:
		if err := a.checkOther(k); err != nil {
			return fmt.Errorf("delete %s: %w", k, err)
		}
	case mesh.SecretKind.Name:
		a.meshes.RLock()
		defer a.meshes.RUnlock()
		if err := a.checkUnused(ctx, k); err != nil {
			return fmt.Errorf("delete %s: %w", k, err)
		}
	}
	return a.Store.Delete(ctx, k, at)
}

// PreviewDelete returns what DeleteAt would delete, or its error.
func (a *Admission) PreviewDelete(ctx context.Context, k mesh.Key, at mesh.Version) (mesh.Resource, error) {
	r, err := a.Store.Get(ctx, k)
	if err == nil && at != 0 && at != r.Meta.Version {
		err = fmt.Errorf("delete %s at version %d: %w", k, at, store.ErrConflict)
	}
	if err == nil {
		err = a.checkOwn(k)
	}
	switch {
	case err != nil:
	case r.Kind == mesh.MeshKind:
		err = a.checkDeserted(ctx, k)
	case r.Kind == mesh.SecretKind:
		err = a.checkUnused(ctx, k)
	case r.Kind == mesh.ZoneKind:
		err = a.checkOther(k)
	}
	return r, err
}

// checkOwn refuses to change what the control plane keeps for itself: without it
// no host would know it.
func (a *Admission) checkOwn(k mesh.Key) error {
	if k != a.Own || k.Name == "" {
		return nil
	}
	return refused("name", "it is the control plane's own authority: `weftctl ca rotate --control-plane` exchanges it")
}

// checkOther refuses to delete the zone that this control plane is of: it is
// there as long as the control plane is.
func (a *Admission) checkOther(k mesh.Key) error {
	if k.Name != a.zone() {
		return nil
	}
	return refused("zone", "%q is the zone of this control plane, which is connected", k.Name)
}

// checkUnused refuses to delete what the authority of the mesh is made of: the
// next certificate could not be signed.
func (a *Admission) checkUnused(ctx context.Context, k mesh.Key) error {
	if _, err := a.Store.Get(ctx, k); errors.Is(err, store.ErrNotFound) {
		return err // is what the caller wants to know first
	}
	spec, err := a.mesh(ctx, k.Mesh)
	switch {
	case errors.Is(err, ErrNoMesh):
		return nil
	case err != nil:
		return err
	case spec.MTLS == nil:
		return nil
	}
	for _, b := range spec.MTLS.Backends {
		if slices.Contains(b.Secrets(k.Mesh), k.Name) {
			return refused("name", "the backend %q of mesh %q is made of it; take the backend out of the mesh first", b.Name, k.Mesh)
		}
	}
	return nil
}
