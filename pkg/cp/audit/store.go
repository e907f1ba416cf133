package audit

import (
	"context"
	"errors"
	"strings"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// A Store tells the log of every write that another store acknowledged: as part
// of the event in its context, or by itself as the control plane's own.
type Store struct {
	store.Keeper
	log *Log
}

// Over returns s with its writes audited.
func Over(s store.Keeper, log *Log) *Store { return &Store{Keeper: s, log: log} }

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, r mesh.Resource) (mesh.Resource, error) {
	var was *mesh.Resource
	if r.Meta.Version != 0 { // else it is written only where there is none
		var err error
		if was, err = s.before(ctx, r.Key()); err != nil {
			return mesh.Resource{}, err
		}
	}
	stored, err := s.Keeper.Put(ctx, r)
	if err != nil {
		return stored, err
	}
	c := Change{Action: "create", Kind: r.Kind.Name, Mesh: r.Meta.Mesh, Name: r.Meta.Name, Version: stored.Meta.Version}
	if was != nil {
		c.Action, c.Was = "update", was.Meta.Version
		if Of(ctx) == nil && strings.HasPrefix(r.Meta.Name, r.Meta.Mesh+".ca-rotation-") {
			return stored, nil // replicas count their hosts there all the while
		}
	}
	c.Diff = diff(was, &stored)
	s.tell(ctx, c)
	return stored, nil
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, k mesh.Key, at mesh.Version) error {
	was, err := s.before(ctx, k)
	if err != nil {
		return err
	}
	if err := s.Keeper.Delete(ctx, k, at); err != nil {
		return err
	}
	c := Change{Action: "delete", Kind: k.Kind, Mesh: k.Mesh, Name: k.Name, Diff: diff(was, nil)}
	if was != nil {
		c.Was = was.Meta.Version
	}
	s.tell(ctx, c)
	return nil
}

// before is what is there; nil: nothing, or nothing that can be read.
func (s *Store) before(ctx context.Context, k mesh.Key) (*mesh.Resource, error) {
	r, err := s.Get(ctx, k)
	switch {
	case err == nil:
		return &r, nil
	case errors.Is(err, store.ErrUnavailable), ctx.Err() != nil:
		return nil, err
	default:
		return nil, nil
	}
}

func (s *Store) tell(ctx context.Context, c Change) {
	if e := Of(ctx); e != nil {
		e.Add(c)
		return
	}
	s.log.Write(&Event{Outcome: Done, Via: "control-plane", Changes: []Change{c}})
}
