// Package memory is a store that forgets everything when the process ends.
//
// It behaves as the durable stores do on the outside, so tests and trials use
// it where a file would only be in the way.
package memory

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// feed is how many changes a watcher may lie behind before it has to list
// again.
const feed = 50_000

// A Store keeps resources in memory. It starts with New.
type Store struct {
	feed int
	now  func() time.Time

	mu       sync.Mutex
	current  map[mesh.Key]row
	changes  []store.Change // the newest, at most feed; the last one's version is revision
	revision mesh.Version
	more     chan struct{} // closed by the next change
	closed   bool
}

// New returns an empty store.
func New() *Store {
	return &Store{
		feed:    feed,
		now:     time.Now,
		current: map[mesh.Key]row{},
		more:    make(chan struct{}),
	}
}

// Close ends all watches; every later call fails. Closing again does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.more)
	}
	return nil
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, k mesh.Key) (mesh.Resource, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return mesh.Resource{}, fmt.Errorf("get %s: %w", k, err)
	}
	found, ok := s.current[k]
	if !ok {
		return mesh.Resource{}, fmt.Errorf("get %s: %w", k, store.ErrNotFound)
	}
	return found.resource()
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, r mesh.Resource) (mesh.Resource, error) {
	wanted, err := newRow(r)
	if err != nil {
		return mesh.Resource{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := r.Key()
	if err := s.usable(ctx); err != nil {
		return mesh.Resource{}, fmt.Errorf("put %s: %w", k, err)
	}
	old, exists := s.current[k]
	if old.meta.Version != r.Meta.Version {
		return mesh.Resource{}, fmt.Errorf("put %s at version %d: %w", k, r.Meta.Version, store.ErrConflict)
	}
	now := s.now().UTC().Round(0)
	wanted.meta.Created, wanted.meta.Modified = now, now
	if exists {
		wanted.meta.Created = old.meta.Created
		if now.Before(old.meta.Modified) { // the clock was set back
			wanted.meta.Modified = old.meta.Modified
		}
	}
	wanted.meta.Version = s.revision + 1
	stored, err := wanted.resource()
	if err != nil {
		return mesh.Resource{}, err
	}
	s.current[k] = wanted
	s.note(store.Change{Key: k, Now: &stored})
	return wanted.resource()
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, k mesh.Key, at mesh.Version) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return fmt.Errorf("delete %s: %w", k, err)
	}
	old, ok := s.current[k]
	if !ok {
		return fmt.Errorf("delete %s: %w", k, store.ErrNotFound)
	}
	if at != 0 && at != old.meta.Version {
		return fmt.Errorf("delete %s at version %d: %w", k, at, store.ErrConflict)
	}
	delete(s.current, k)
	s.note(store.Change{Key: k})
	return nil
}

// note makes c the newest change. The caller holds mu.
func (s *Store) note(c store.Change) {
	s.revision++
	c.Version = s.revision
	s.changes = append(s.changes, c)
	if drop := len(s.changes) - s.feed; drop > 0 {
		clear(s.changes[:drop])
		s.changes = s.changes[drop:]
	}
	close(s.more)
	s.more = make(chan struct{})
}

// usable says why nothing can be done. The caller holds mu.
func (s *Store) usable(ctx context.Context) error {
	if s.closed {
		return errClosed
	}
	return ctx.Err()
}

// Failed implements store.Keeper: memory does not fail.
func (s *Store) Failed() <-chan struct{} { return nil }
