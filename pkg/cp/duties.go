package cp

import (
	"context"
	"errors"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/replica"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// duties are what one control plane does for all, in no particular order.
func (c *ControlPlane) duties() []replica.Duty {
	return []replica.Duty{
		{Name: "orphans", Every: 10 * time.Minute, Run: c.removeOrphans},
	}
}

// removeOrphans deletes what was put into a mesh by one replica while another
// deleted the mesh: within one process that cannot happen.
func (c *ControlPlane) removeOrphans(ctx context.Context) error {
	if c.board == nil {
		return nil
	}
	all, err := c.newest.List(ctx, store.Query{})
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, r := range all.Items {
		if r.Kind == mesh.MeshKind {
			there[r.Meta.Name] = true
		}
	}
	var errs []error
	for _, r := range all.Items {
		if r.Kind.Scope != mesh.InMesh || there[r.Meta.Mesh] {
			continue
		}
		// Keys and authority of a mesh are made before it.
		if time.Since(r.Meta.Modified) < time.Minute {
			continue
		}
		err := c.newest.Delete(ctx, r.Key(), r.Meta.Version)
		if err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
			errs = append(errs, err)
			continue
		}
		c.log.Info("resource of a mesh that is gone was deleted", "resource", r.Key().String())
	}
	return errors.Join(errs...)
}
