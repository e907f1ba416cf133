package accesslog

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// A destination takes bytes. One goroutine at a time uses it.
type destination interface {
	// open sees to it that there is something to write to. It is fresh where
	// that has nothing of the line of which a write before put out a part.
	open(ctx context.Context) (fresh bool, err error)
	// write puts p out, as far as it can, and tells how many bytes it did.
	write(ctx context.Context, p []byte) (n int, err error)
	close()
}

// How a sink writes.
const (
	maxWrite     = 256 << 10 // bytes at once, unless one line is longer
	firstWait    = 100 * time.Millisecond
	maxWait      = 5 * time.Second
	provenAfter  = 2 * maxWait // so long without an error, and back-off begins anew
	writeTimeout = 10 * time.Second
)

// A sink is one destination with its queue.
type sink struct {
	name  string
	to    destination
	log   *slog.Logger
	queue *queue

	mu      sync.Mutex
	sent    int64
	dropped int64
	failing time.Time
	err     error
}

func newSink(name string, to destination, log *slog.Logger) *sink {
	return &sink{name: name, to: to, log: log, queue: newQueue(maxQueue)}
}

func (k *sink) put(lines [][]byte) {
	dropped := int64(k.queue.put(lines))
	if dropped == 0 {
		return
	}
	k.mu.Lock()
	first := k.dropped == 0
	k.dropped += dropped
	k.mu.Unlock()
	if first {
		k.log.Warn("access log lines were dropped, as their destination does not take them", "lines", dropped)
	}
}

// run writes what comes until ctx ends, the queue is closed and empty, or
// nothing has come for long.
func (k *sink) run(ctx context.Context) {
	defer k.to.close()
	idle := time.NewTimer(maxIdle)
	defer idle.Stop()
	var (
		half int // bytes of the first line that are written already
		wait backoff
	)
	for {
		lines := k.queue.peek(maxWrite)
		if len(lines) == 0 {
			if _, closed := k.queue.state(); closed {
				return
			}
			idle.Reset(maxIdle)
			select {
			case <-k.queue.wake:
				continue
			case <-idle.C:
				k.queue.close()
				continue
			case <-ctx.Done():
				return
			}
		}
		fresh, err := k.to.open(ctx)
		if fresh {
			half = 0
		}
		n := 0
		if err == nil {
			n, err = k.to.write(ctx, join(lines, half))
		}
		var done int
		done, half = count(lines, half+n)
		k.queue.drop(done)
		k.told(done, err)
		if err == nil {
			continue
		}
		select {
		case <-time.After(wait.next(time.Now())):
		case <-ctx.Done():
			return
		}
	}
}

// join makes one buffer of lines, each with its end, without the first skip
// bytes.
func join(lines [][]byte, skip int) []byte {
	size := 0
	for _, l := range lines {
		size += len(l) + 1
	}
	b := make([]byte, 0, size)
	for _, l := range lines {
		b = append(append(b, l...), '\n')
	}
	return b[skip:]
}

// count tells how many of lines are whole in the first n bytes of what join
// makes of them, and how many bytes of the next are.
func count(lines [][]byte, n int) (whole, half int) {
	for _, l := range lines {
		if n <= len(l) {
			break
		}
		n -= len(l) + 1
		whole++
	}
	return whole, n
}

// told notes how a write went, and says so where that is news.
func (k *sink) told(lines int, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sent += int64(lines)
	switch {
	case err != nil && k.failing.IsZero():
		k.failing = time.Now()
		k.log.Warn("access log cannot be written, trying on", "error", err)
	case err == nil && !k.failing.IsZero():
		k.failing = time.Time{}
		k.log.Info("access log is written again", "dropped", k.dropped)
	}
	k.err = err
}

func (k *sink) status() Status {
	queued, _ := k.queue.state()
	k.mu.Lock()
	defer k.mu.Unlock()
	s := Status{Sink: k.name, Sent: k.sent, Dropped: k.dropped, Queued: queued, Failing: k.failing}
	if k.err != nil {
		s.Error = k.err.Error()
	}
	return s
}

// A backoff says how long to wait after a failure. Its zero value has seen none.
type backoff struct {
	wait time.Duration
	last time.Time // the end of the last wait
}

// next returns the wait after a failure now: 100 ms, then twice as much each
// time, 5 s at most, each time up to a half more.
func (b *backoff) next(now time.Time) time.Duration {
	if b.wait == 0 || now.Sub(b.last) > provenAfter {
		b.wait = firstWait
	} else {
		b.wait = min(2*b.wait, maxWait)
	}
	w := b.wait + rand.N(b.wait/2)
	b.last = now.Add(w)
	return w
}
