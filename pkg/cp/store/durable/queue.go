// Package durable is what stores on disk have in common: the row that a
// resource becomes, writes that share a commit, and the bell that wakes
// watchers.
package durable

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// BatchSize bounds how many writes share one commit, so that one transaction
// stays short.
const BatchSize = 256

// ErrClosed is what every call on a closed store fails with.
var ErrClosed = errors.New("the store is closed")

// A Write is one Put or Delete on its way to the disk.
type Write[T any] struct {
	What T
	Err  error // set by the commit

	done chan struct{} // closed when Err is final
}

// A Queue gathers the writes that wait while a commit is under way. The one
// that gets the turn commits all of them together: waiting for the disk once
// serves everybody (group commit), and nobody waits when he is alone.
type Queue[T any] struct {
	commit  func(context.Context, []*Write[T])
	turn    chan struct{} // full while somebody commits
	closing chan struct{}

	mu      sync.Mutex
	waiting []*Write[T]
}

// NewQueue returns a queue whose batches go to commit, one batch at a time and
// none empty.
func NewQueue[T any](commit func(context.Context, []*Write[T])) *Queue[T] {
	return &Queue[T]{commit: commit, turn: make(chan struct{}, 1), closing: make(chan struct{})}
}

// Do commits what, perhaps with others, and returns once that is done. When
// ctx ends before its commit began nothing is written.
func (q *Queue[T]) Do(ctx context.Context, what T) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := &Write[T]{What: what, done: make(chan struct{})}
	q.add(w)
	for {
		select {
		case <-w.done:
			return w.Err
		case q.turn <- struct{}{}:
			// Nobody's giving up may undo what others wrote.
			q.next(context.WithoutCancel(ctx))
			<-q.turn
			// A full batch may have left w behind: go round again.
		case <-ctx.Done():
			if q.withdraw(w) {
				return ctx.Err()
			}
			<-w.done
			return w.Err
		case <-q.closing:
			if q.withdraw(w) {
				return ErrClosed
			}
			<-w.done
			return w.Err
		}
	}
}

// Close lets the commit under way end and starts no other. It is called once.
func (q *Queue[T]) Close() {
	close(q.closing)
	q.turn <- struct{}{} // and nobody else gets it any more
}

// Closed tells whether Close was called.
func (q *Queue[T]) Closed() bool {
	select {
	case <-q.closing:
		return true
	default:
		return false
	}
}

// Closing is closed by Close.
func (q *Queue[T]) Closing() <-chan struct{} { return q.closing }

func (q *Queue[T]) next(ctx context.Context) {
	batch := q.take()
	if len(batch) == 0 {
		return
	}
	q.commit(ctx, batch)
	for _, w := range batch {
		close(w.done)
	}
}

func (q *Queue[T]) add(w *Write[T]) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, w)
}

// take returns the writes that go into the next commit.
func (q *Queue[T]) take() []*Write[T] {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.waiting), BatchSize)
	batch := slices.Clone(q.waiting[:n])
	q.waiting = slices.Delete(q.waiting, 0, n)
	return batch
}

// withdraw takes w back, unless it is being committed already.
func (q *Queue[T]) withdraw(w *Write[T]) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, w)
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return true
}
