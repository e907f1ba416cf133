// Package mirror answers reads from memory while the store is away.
//
// It stands between the control plane and a store on another machine, and
// remembers what the follower of the change feed was told. Writes and watches
// are the store's own affair.
package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// A Distant store is one that may be out of reach.
type Distant interface {
	store.Keeper
	// Away tells since when the store does not answer; zero when it does.
	Away() (since time.Time, cause error)
}

// A Store is a Distant one with its mirror. What is read while the store is
// away is shared: readers must not change it.
type Store struct {
	Distant

	mu    sync.RWMutex
	known map[mesh.Key]*mesh.Resource // nil: the store was never read
	at    mesh.Version
}

// New returns a mirror that knows nothing yet.
func New(s Distant) *Store { return &Store{Distant: s} }

// Stale tells since when reads are answered from memory; zero: they are not.
func (s *Store) Stale() time.Time {
	since, _ := s.Away()
	return since
}

// Get implements store.Store. While the store is away nobody can tell whether
// a Dataplane that is not known was registered with another replica meanwhile:
// only that is an error then.
func (s *Store) Get(ctx context.Context, k mesh.Key) (mesh.Resource, error) {
	r, err := s.Distant.Get(ctx, k)
	if !errors.Is(err, store.ErrUnavailable) {
		return r, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	found := s.known[k]
	switch {
	case found != nil:
		return *found, nil
	case s.known == nil || k.Kind == mesh.DataplaneKind.Name:
		return r, err
	}
	return r, fmt.Errorf("get %s, as of version %d: %w", k, s.at, store.ErrNotFound)
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, q store.Query) (store.Page, error) {
	page, err := s.Distant.List(ctx, q)
	if err == nil && everything(q) {
		s.adopt(page)
	}
	if !errors.Is(err, store.ErrUnavailable) {
		return page, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	// Who asks for everything wants to begin anew: memory is what he has.
	if s.known == nil || everything(q) {
		return page, err
	}
	return s.list(q), nil
}

func everything(q store.Query) bool {
	return q.Kind == nil && q.Mesh == "" && q.Name == "" && len(q.Labels) == 0 && q.Offset == 0 && q.Size == 0
}

func (s *Store) list(q store.Query) store.Page {
	var found []*mesh.Resource
	for _, r := range s.known {
		if matches(q, r) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b *mesh.Resource) int {
		return cmp.Or(strings.Compare(a.Meta.Mesh, b.Meta.Mesh), strings.Compare(a.Meta.Name, b.Meta.Name), strings.Compare(a.Kind.Name, b.Kind.Name))
	})
	page := store.Page{Total: len(found), At: s.at}
	found = found[min(max(q.Offset, 0), len(found)):]
	if q.Size > 0 {
		found = found[:min(q.Size, len(found))]
	}
	for _, r := range found {
		page.Items = append(page.Items, *r)
	}
	return page
}

func matches(q store.Query, r *mesh.Resource) bool {
	if q.Kind != nil && q.Kind != r.Kind || q.Mesh != "" && q.Mesh != r.Meta.Mesh || !strings.Contains(r.Meta.Name, q.Name) {
		return false
	}
	for key, value := range q.Labels {
		if has, ok := r.Meta.Labels[key]; !ok || has != value {
			return false
		}
	}
	return true
}

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, from mesh.Version) (<-chan store.Change, error) {
	in, err := s.Distant.Watch(ctx, from)
	if err != nil {
		return nil, err
	}
	out := make(chan store.Change)
	go func() {
		defer close(out)
		for c := range in { // ends with ctx
			s.note(c)
			select {
			case out <- c:
			case <-ctx.Done():
			}
		}
	}()
	return out, nil
}

func (s *Store) adopt(p store.Page) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known != nil && p.At < s.at {
		return
	}
	s.known, s.at = make(map[mesh.Key]*mesh.Resource, len(p.Items)), p.At
	for i := range p.Items {
		s.known[p.Items[i].Key()] = &p.Items[i]
	}
}

func (s *Store) note(c store.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil || c.Version <= s.at { // of a watch beside the follower's
		return
	}
	if s.at = c.Version; c.Now == nil {
		delete(s.known, c.Key)
	} else {
		s.known[c.Key] = c.Now
	}
}
