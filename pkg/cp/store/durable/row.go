package durable

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// A Row is one line of the table revisions. With no Spec it is a deletion.
type Row struct {
	Revision          int64
	Kind, Mesh, Name  string
	Created, Modified int64  // nanoseconds since 1970 UTC
	Labels, Spec      []byte // JSON
}

// Columns are those of a Row in a SELECT from revisions r, see Fields.
const Columns = "r.revision, r.kind, r.mesh, r.name, r.created, r.modified, r.labels, r.spec"

// NewRow is r as it is stored, without revision and times.
func NewRow(r mesh.Resource) (Row, error) {
	if r.Kind == nil || r.Spec == nil || r.Meta.Name == "" {
		return Row{}, errors.New("a resource needs a kind, a name and a spec")
	}
	spec, err := json.Marshal(r.Spec)
	if err != nil {
		return Row{}, err
	}
	labels, err := json.Marshal(r.Meta.Labels)
	return Row{Kind: r.Kind.Name, Mesh: r.Meta.Mesh, Name: r.Meta.Name, Labels: labels, Spec: spec}, err
}

// Deletion is the row that deletes k.
func Deletion(k mesh.Key) Row { return Row{Kind: k.Kind, Mesh: k.Mesh, Name: k.Name} }

// Fields is where a SELECT of Columns goes.
func (w *Row) Fields() []any {
	return []any{&w.Revision, &w.Kind, &w.Mesh, &w.Name, (*nullable)(&w.Created), (*nullable)(&w.Modified), &w.Labels, &w.Spec}
}

// Key is that of the resource.
func (w *Row) Key() mesh.Key { return mesh.Key{Kind: w.Kind, Mesh: w.Mesh, Name: w.Name} }

// Stamp sets the times: created is that of what w takes the place of, if any.
func (w *Row) Stamp(now time.Time, old Row) {
	w.Created, w.Modified = now.UnixNano(), now.UnixNano()
	if old.Revision != 0 {
		w.Created = old.Created
		w.Modified = max(w.Modified, old.Modified) // the clock may have been set back
	}
}

// Resource is what the row holds.
func (w *Row) Resource(k *mesh.Kind) (mesh.Resource, error) {
	r := mesh.Resource{Kind: k, Spec: k.New(), Meta: mesh.Meta{
		Mesh:     w.Mesh,
		Name:     w.Name,
		Version:  mesh.Version(w.Revision),
		Created:  time.Unix(0, w.Created).UTC(),
		Modified: time.Unix(0, w.Modified).UTC(),
	}}
	err := json.Unmarshal(w.Labels, &r.Meta.Labels)
	if len(r.Meta.Labels) == 0 {
		r.Meta.Labels = nil
	}
	if err == nil {
		err = json.Unmarshal(w.Spec, r.Spec)
	}
	if err != nil {
		return mesh.Resource{}, fmt.Errorf("read %s: %w", r.Key(), err)
	}
	return r, nil
}

// Change is what the row tells watchers.
func (w *Row) Change(k *mesh.Kind) (store.Change, error) {
	c := store.Change{Key: w.Key(), Version: mesh.Version(w.Revision)}
	if w.Spec == nil {
		return c, nil
	}
	r, err := w.Resource(k)
	c.Now = &r
	return c, err
}

// Kinds are those of this version by name. A newer one may have left others in
// the store: they are not shown.
func Kinds() map[string]*mesh.Kind {
	kinds := make(map[string]*mesh.Kind, len(mesh.Kinds))
	for _, k := range mesh.Kinds {
		kinds[k.Name] = k
	}
	return kinds
}

// A nullable is an integer that reads NULL as 0.
type nullable int64

// Scan implements sql.Scanner.
func (n *nullable) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*n = 0
	case int64:
		*n = nullable(v)
	default:
		return fmt.Errorf("%T is no integer", v)
	}
	return nil
}
