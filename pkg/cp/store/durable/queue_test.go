package durable

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"
)

// TestWritersShareACommit lets writers queue up while a commit is under way.
func TestWritersShareACommit(t *testing.T) {
	var sizes []int
	begun, goOn := make(chan struct{}), make(chan struct{})
	q := NewQueue(func(_ context.Context, batch []*Write[int]) {
		if sizes = append(sizes, len(batch)); len(sizes) == 1 {
			close(begun)
			<-goOn
		}
	})
	const writers = BatchSize + 10
	results := make(chan error, writers+1)
	write := func() { results <- q.Do(t.Context(), 0) }
	go write()
	<-begun
	for range writers {
		go write()
	}
	waitQueued(t, q, writers)
	close(goOn)
	for range writers + 1 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if len(sizes) != 3 || sizes[0] != 1 || sizes[1] != BatchSize || sizes[2] != 10 {
		t.Errorf("commits were of %d writes, want 1, %d and 10", sizes, BatchSize)
	}
}

func TestGivingUpInTheQueueWritesNothing(t *testing.T) {
	var wrote []string
	begun, goOn := make(chan struct{}), make(chan struct{})
	q := NewQueue(func(_ context.Context, batch []*Write[string]) {
		for _, w := range batch {
			if wrote = append(wrote, w.What); w.What == "first" {
				close(begun)
				<-goOn
			}
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	first, given, kept := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() { first <- q.Do(t.Context(), "first") }()
	<-begun
	go func() { given <- q.Do(ctx, "given up") }()
	go func() { kept <- q.Do(t.Context(), "kept") }()
	waitQueued(t, q, 2)
	cancel()
	if err := <-given; !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want context.Canceled", err)
	}
	close(goOn)
	if err := errors.Join(<-first, <-kept); err != nil {
		t.Error(err)
	}
	if len(wrote) != 2 || wrote[1] != "kept" {
		t.Errorf("wrote %q, want the first and the one that was kept", wrote)
	}
	q.Close()
	if err := q.Do(t.Context(), "late"); !errors.Is(err, ErrClosed) {
		t.Errorf("error is %v, want ErrClosed", err)
	}
}

func waitQueued[T any](t *testing.T, q *Queue[T], n int) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		q.mu.Lock()
		waiting := len(q.waiting)
		q.mu.Unlock()
		if waiting == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d writes wait, want %d", waiting, n)
		}
		runtime.Gosched()
	}
}
