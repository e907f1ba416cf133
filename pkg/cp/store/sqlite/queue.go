package sqlite

import (
	"context"
	"slices"
	"sync"
)

// batchSize bounds how many writes share one commit, so that one transaction
// stays short.
const batchSize = 256

// A write is one Put or Delete on its way to the disk.
type write struct {
	run  func(context.Context, *tx) error
	done chan struct{} // closed when err is final
	err  error
}

// A queue gathers the writes that wait while a commit is under way. The one
// that gets the turn commits all of them together: waiting for the disk once
// serves everybody (group commit), and nobody waits when he is alone.
type queue struct {
	turn chan struct{} // full while somebody commits

	mu      sync.Mutex
	waiting []*write
}

func newQueue() queue { return queue{turn: make(chan struct{}, 1)} }

func (q *queue) add(w *write) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, w)
}

// take returns the writes that go into the next commit.
func (q *queue) take() []*write {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.waiting), batchSize)
	batch := slices.Clone(q.waiting[:n])
	q.waiting = slices.Delete(q.waiting, 0, n)
	return batch
}

// withdraw takes w back, unless it is being committed already.
func (q *queue) withdraw(w *write) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, w)
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return true
}

// do runs f in a transaction, perhaps shared with others, and returns once it
// is on disk. When ctx ends first nothing is written.
func (s *Store) do(ctx context.Context, f func(context.Context, *tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := &write{run: f, done: make(chan struct{})}
	s.queue.add(w)
	for {
		select {
		case <-w.done:
			return w.err
		case s.queue.turn <- struct{}{}:
			// Nobody's giving up may undo what others wrote.
			s.commit(context.WithoutCancel(ctx), s.queue.take())
			<-s.queue.turn
			// A full batch may have left w behind: go round again.
		case <-ctx.Done():
			if s.queue.withdraw(w) {
				return ctx.Err()
			}
			<-w.done
			return w.err
		case <-s.closing:
			if s.queue.withdraw(w) {
				return errClosed
			}
			<-w.done
			return w.err
		}
	}
}
