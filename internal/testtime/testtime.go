// Package testtime is how tests judge time on a machine that others use too:
// what must come is waited for long, and what must come soon is measured
// without the time in which nothing ran.
package testtime

import (
	"sync"
	"testing"
	"time"
)

// Wait is how long a test waits for what must come. It costs nothing where that
// comes.
const Wait = time.Minute

// beat is how often a watch looks whether this process runs. A look that is
// later than late tells that it did not: nor did, most likely, what is measured.
const (
	beat = 10 * time.Millisecond
	late = 3 * beat
)

// A Watch measures a time, and how much of it this process stood still: because
// the machine did, or because others had all processors.
type Watch struct {
	done  chan struct{}
	began time.Time

	mu    sync.Mutex
	last  time.Time
	stood time.Duration
}

// Start starts a watch. It ends with the test.
func Start(t testing.TB) *Watch {
	now := time.Now()
	w := &Watch{done: make(chan struct{}), began: now, last: now}
	t.Cleanup(func() { close(w.done) })
	go func() {
		tick := time.NewTicker(beat)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				w.look(time.Now())
			case <-w.done:
				return
			}
		}
	}()
	return w
}

func (w *Watch) look(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if gap := now.Sub(w.last); gap > late {
		w.stood += gap - beat
	}
	w.last = now
}

// Took is the time since the start in which this process could run: what a
// limit is for.
func (w *Watch) Took() time.Duration {
	now := time.Now()
	w.look(now)
	return now.Sub(w.began) - w.Stood()
}

// Stood is the time since the start in which this process stood still.
func (w *Watch) Stood() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stood
}

// tries is how often something may be late before it counts.
const tries = 3

// Soon fails the test where something takes longer than the limit three times
// out of three: once may be the machine's doing. It is for how long something
// takes and for nothing else: where something is wrong, once fails the test
// itself. once returns how long it took, most often by a Watch of its own.
func Soon(t testing.TB, what string, limit time.Duration, once func() time.Duration) {
	t.Helper()
	for n := range tries {
		took := once()
		if took <= limit || t.Failed() {
			return
		}
		t.Logf("%s took %s, which is more than %s, in try %d of %d", what, took, limit, n+1, tries)
	}
	t.Errorf("%s took more than %s each of %d times", what, limit, tries)
}
