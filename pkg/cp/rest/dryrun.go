package rest

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/admission"
	"github.com/weft-mesh/weft/pkg/cp/inspect"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// A dryRun answers a write that was only asked about.
type dryRun struct {
	Warnings []string        `json:"warnings,omitempty"`
	DryRun   *api.Difference `json:"dryRun"`
}

// tryPut answers what a PUT would do.
func (s *Server) tryPut(c call, r mesh.Resource, warnings []string) (answer, error) {
	result, err := s.Admission.Preview(c.Context(), r)
	if err != nil {
		return answer{}, err
	}
	change, told, err := s.told(c, result)
	if err != nil {
		return answer{}, err
	}
	doc, err := s.compare(c.Context(), change, []api.ResourceChange{told})
	if err != nil {
		return answer{}, err
	}
	return asJSON(http.StatusOK, dryRun{append(warnings, result.Warnings...), doc})
}

// tryDelete answers what a DELETE would do.
func (s *Server) tryDelete(c call, key mesh.Key, at mesh.Version) (answer, error) {
	r, err := s.Admission.PreviewDelete(c.Context(), key, at)
	if err != nil {
		return answer{}, err
	}
	told := api.ResourceChange{Type: key.Kind, Mesh: key.Mesh, Name: key.Name, Change: api.ChangeDeleted}
	if told.Diff, err = inspect.Changed(shown(&r), nil); err != nil {
		return answer{}, err
	}
	doc, err := s.compare(c.Context(), []store.Change{{Key: key}}, []api.ResourceChange{told})
	if err != nil {
		return answer{}, err
	}
	return asJSON(http.StatusOK, dryRun{DryRun: doc})
}

// told says what would become of a resource that was accepted.
func (s *Server) told(c call, result admission.Result) (changes []store.Change, told api.ResourceChange, err error) {
	r := result.Resource
	told = api.ResourceChange{Type: r.Kind.Name, Mesh: r.Meta.Mesh, Name: r.Meta.Name, Warnings: result.Warnings, Change: api.ChangeUnchanged}
	if result.Unchanged {
		return nil, told, nil
	}
	var was *mesh.Resource
	told.Change = api.ChangeCreated
	if !result.Created {
		told.Change = api.ChangeUpdated
		stored, err := s.Store.Get(c.Context(), r.Key())
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, told, err
		}
		if err == nil {
			was = &stored
		}
	}
	if told.Diff, err = inspect.Changed(shown(was), shown(&r)); err != nil {
		return nil, told, err
	}
	return []store.Change{future(r)}, told, nil
}

// shown is what of a resource may stand in a diff: nothing of a kind that is
// the administrators'.
func shown(r *mesh.Resource) *mesh.Resource {
	if r == nil || !r.Kind.Admin {
		return r
	}
	hidden := *r
	hidden.Spec = hidden.Kind.New()
	return &hidden
}

// future is the write of r. A tie between policies goes to the youngest, so
// times matter.
func future(r mesh.Resource) store.Change {
	now := time.Now().UTC()
	if r.Meta.Created.IsZero() {
		r.Meta.Created = now
	}
	r.Meta.Modified = now
	return store.Change{Key: r.Key(), Now: &r}
}

// preview tells what would become of one of several documents. What goes into
// a mesh that is among them cannot be checked against it yet.
func (s *Server) preview(c call, r mesh.Resource, meshes map[string]bool) (*store.Change, api.ResourceChange) {
	told := api.ResourceChange{Type: r.Kind.Name, Mesh: r.Meta.Mesh, Name: r.Meta.Name, Change: api.ChangeRefused}
	needs := WriteResources
	if r.Kind.Admin {
		needs = AdminResources
	}
	err := r.Validate().Err()
	switch {
	case err != nil:
	case !s.everywhere(c.user, needs):
		err = denial{c.user, fmt.Sprintf("access the resource of type %q", r.Kind.Name)}
	case r.Kind.ReadOnly:
		err = fmt.Errorf("%w: the control plane writes a %s itself", errReadOnly, r.Kind.Name)
	}
	if err != nil {
		told.Error = document(cannotPut, err)
		return nil, told
	}
	result, err := s.Admission.Preview(c.Context(), r)
	if errors.Is(err, admission.ErrNoMesh) && meshes[r.Meta.Mesh] {
		result = admission.Result{Resource: r, Created: true, Warnings: []string{"its mesh is new, too: it is checked when both are put"}}
		err = nil
	}
	if err == nil {
		var changes []store.Change
		if changes, told, err = s.told(c, result); err == nil && len(changes) > 0 {
			return &changes[0], told
		}
	}
	if err != nil {
		told.Change, told.Error = api.ChangeRefused, document(cannotPut, err)
	}
	return nil, told
}
