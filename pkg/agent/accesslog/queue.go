package accesslog

import "sync"

// A queue holds lines, bounded in bytes. What does not fit is not taken, so
// that what is in it stays whole and in order.
type queue struct {
	mu     sync.Mutex
	lines  [][]byte
	bytes  int
	limit  int
	closed bool
	wake   chan struct{} // capacity 1
}

func newQueue(limit int) *queue { return &queue{limit: limit, wake: make(chan struct{}, 1)} }

// put takes lines from the first on and returns how many did not fit.
func (q *queue) put(lines [][]byte) (dropped int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, l := range lines {
		if q.bytes+len(l) > q.limit || q.closed {
			dropped = len(lines) - i
			break
		}
		q.lines = append(q.lines, l)
		q.bytes += len(l)
	}
	q.stir()
	return dropped
}

// peek returns the first lines, up to about max bytes but one at least.
func (q *queue) peek(limit int) [][]byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, size := 0, 0
	for n < len(q.lines) && (n == 0 || size+len(q.lines[n]) <= limit) {
		size += len(q.lines[n])
		n++
	}
	return q.lines[:n:n]
}

// drop removes the first n lines.
func (q *queue) drop(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range n {
		q.bytes -= len(q.lines[i])
		q.lines[i] = nil
	}
	q.lines = q.lines[n:]
	if len(q.lines) == 0 {
		q.lines = nil // and the room that a bad hour took
	}
}

// close makes it take no more, and lets whoever waits for lines know.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.stir()
}

func (q *queue) stir() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// state tells how many bytes there are and whether more can come.
func (q *queue) state() (bytes int, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes, q.closed
}
