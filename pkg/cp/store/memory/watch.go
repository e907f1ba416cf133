package memory

import (
	"context"
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, from mesh.Version) (<-chan store.Change, error) {
	next, more, err := s.since(from)
	if err != nil {
		return nil, fmt.Errorf("watch from version %d: %w", from, err)
	}
	out := make(chan store.Change)
	go func() {
		defer close(out)
		for {
			for _, c := range next {
				select {
				case out <- c:
					from = c.Version
				case <-ctx.Done():
					return
				}
			}
			select {
			case <-more:
			case <-ctx.Done():
				return
			}
			if next, more, err = s.since(from); err != nil {
				return
			}
		}
	}()
	return out, nil
}

// since returns the changes after from, and what is closed by the one that
// follows them.
func (s *Store) since(from mesh.Version) ([]store.Change, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, errClosed
	}
	oldest := s.revision - mesh.Version(len(s.changes))
	if from < oldest || from > s.revision {
		return nil, nil, store.ErrCompacted
	}
	return slices.Clone(s.changes[from-oldest:]), s.more, nil
}
