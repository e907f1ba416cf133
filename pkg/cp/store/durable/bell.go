package durable

import "sync"

// A Bell wakes all watchers. Who takes Wait before he looks at the feed misses
// nothing: a write in between has closed his channel already.
type Bell struct {
	mu   sync.Mutex
	next chan struct{} // nil: nobody waits
}

// Wait returns a channel that the next Ring closes.
func (b *Bell) Wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil {
		b.next = make(chan struct{})
	}
	return b.next
}

// Ring wakes everybody who waits.
func (b *Bell) Ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next != nil {
		close(b.next)
		b.next = nil
	}
}
