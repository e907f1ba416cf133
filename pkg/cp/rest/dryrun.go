package rest

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
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
	doc, err := s.compareFor(c, r.Key(), change, told)
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
	doc, err := s.compareFor(c, key, []store.Change{{Key: key}}, told)
	if err != nil {
		return answer{}, err
	}
	return asJSON(http.StatusOK, dryRun{DryRun: doc})
}

// compareFor is compare of one resource; who may write it but not inspect its
// mesh hears of the resource alone.
func (s *Server) compareFor(c call, key mesh.Key, changes []store.Change, told api.ResourceChange) (*api.Difference, error) {
	in := key.Mesh
	if key.Kind == mesh.MeshKind.Name {
		in = key.Name
	}
	may, err := s.mayInspect(c, in)
	if err != nil {
		return nil, err
	}
	if !may {
		changes = nil
	}
	return s.compare(c.Context(), changes, []api.ResourceChange{told})
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

// checkMayPut fails where the user may not write r.
func (s *Server) checkMayPut(c call, r mesh.Resource) error {
	needs := WriteResources
	if r.Kind.Admin {
		needs = AdminResources
	}
	if s.everywhere(c.user, needs) {
		return nil
	}
	want := mesh.Access{Kind: r.Kind, Mesh: r.Meta.Mesh, Name: r.Meta.Name}
	if r.Kind == mesh.MeshKind {
		want.Mesh = r.Meta.Name
	}
	rules, err := s.rules(c.Context(), c.user)
	if err != nil {
		return err
	}
	may, err := s.mayPut(c.Context(), want, func(a mesh.Access) bool {
		return slices.ContainsFunc(rules, func(rule mesh.AccessRule) bool { return rule.Allows(a) })
	})
	if err == nil && !may {
		err = denial{c.user, fmt.Sprintf("access the resource of type %q", r.Kind.Name)}
	}
	return err
}

// mayInspect tells whether the user may see the plans of a mesh.
func (s *Server) mayInspect(c call, meshName string) (bool, error) {
	if s.everywhere(c.user, Inspect) {
		return true, nil
	}
	rules, err := s.rules(c.Context(), c.user)
	want := mesh.Access{What: mesh.AccessInspect, Kind: mesh.DataplaneKind, Mesh: meshName}
	return slices.ContainsFunc(rules, func(rule mesh.AccessRule) bool { return rule.Allows(want) }), err
}

// preview tells what would become of one of several documents. What goes into
// a mesh that is among them cannot be checked against it yet.
func (s *Server) preview(c call, r mesh.Resource, meshes map[string]bool) (*store.Change, api.ResourceChange) {
	told := api.ResourceChange{Type: r.Kind.Name, Mesh: r.Meta.Mesh, Name: r.Meta.Name, Change: api.ChangeRefused}
	err := r.Validate().Err()
	if err == nil {
		err = s.checkMayPut(c, r)
	}
	switch {
	case err != nil:
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
