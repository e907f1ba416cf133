package sqlite

import "sync"

// A bell wakes all watchers. Who takes wait before he looks at the feed
// misses nothing: a write in between has closed his channel already.
type bell struct {
	mu   sync.Mutex
	next chan struct{}
}

func newBell() bell { return bell{next: make(chan struct{})} }

// wait returns a channel that the next ring closes.
func (b *bell) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.next
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.next)
	b.next = make(chan struct{})
}
