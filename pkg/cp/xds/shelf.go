package xds

import (
	"crypto/sha256"
	"runtime"
	"sync"
	"weak"
)

// A shelf finds what is in use by a hash of what it was made of, and forgets
// what nobody uses any more.
type shelf[T any] struct {
	mu   sync.Mutex
	held map[[sha256.Size]byte]weak.Pointer[T]
}

// find returns what is held under key, nil where nothing is.
func (s *shelf[T]) find(key [sha256.Size]byte) *T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[key].Value()
}

// keep holds v, and returns it, or what somebody else has put there meanwhile.
func (s *shelf[T]) keep(key [sha256.Size]byte, v *T) *T {
	s.mu.Lock()
	defer s.mu.Unlock()
	if there := s.held[key].Value(); there != nil {
		return there
	}
	if s.held == nil {
		s.held = map[[sha256.Size]byte]weak.Pointer[T]{}
	}
	s.held[key] = weak.Make(v)
	runtime.AddCleanup(v, s.forget, key)
	return v
}

// forget drops what is gone, unless it has been made anew meanwhile.
func (s *shelf[T]) forget(key [sha256.Size]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[key].Value() == nil {
		delete(s.held, key)
	}
}
