package accesslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestQueue(t *testing.T) {
	line := func(s string) [][]byte { return bytes.Split([]byte(s), []byte(" ")) }
	q := newQueue(10)
	if n := q.put(line("aaaa bbbb")); n != 0 {
		t.Errorf("%d lines did not fit into an empty queue", n)
	}
	if n := q.put(line("cccc dd")); n != 2 { // dd would fit, but not in order
		t.Errorf("%d lines did not fit, want 2", n)
	}
	if got := string(bytes.Join(q.peek(5), []byte(" "))); got != "aaaa" {
		t.Errorf("the first 5 bytes are of %q", got)
	}
	if got := string(bytes.Join(q.peek(1), []byte(" "))); got != "aaaa" {
		t.Errorf("a longer line than asked for is %q", got)
	}
	q.drop(1)
	if n := q.put(line("cc")); n != 0 {
		t.Error("there was room again")
	}
	if got := string(bytes.Join(q.peek(100), []byte(" "))); got != "bbbb cc" {
		t.Errorf("left are %q", got)
	}
	q.drop(2)
	if b, closed := q.state(); b != 0 || closed {
		t.Errorf("an empty queue has %d bytes, closed %t", b, closed)
	}
	q.close()
	if n := q.put(line("a")); n != 1 {
		t.Error("a closed queue took a line")
	}
}

func TestCount(t *testing.T) {
	lines := [][]byte{[]byte("ab"), []byte(""), []byte("cde")}
	for _, c := range []struct{ n, whole, half int }{
		{0, 0, 0}, {1, 0, 1}, {2, 0, 2}, {3, 1, 0}, {4, 2, 0}, {5, 2, 1}, {7, 2, 3}, {8, 3, 0},
	} {
		if whole, half := count(lines, c.n); whole != c.whole || half != c.half {
			t.Errorf("%d bytes of %q are %d lines and %d bytes, want %d and %d", c.n, join(lines, 0), whole, half, c.whole, c.half)
		}
	}
}

// A flaky destination takes what its script says, one entry a write: how many
// bytes, then an error unless that was all. A negative number refuses to open.
type flaky struct {
	mu     sync.Mutex
	script []int
	keeps  bool // stays open after an error, as files do
	isOpen bool
	out    strings.Builder
	opens  []time.Time
}

func (f *flaky) open(context.Context) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.isOpen {
		return false, nil
	}
	f.opens = append(f.opens, time.Now())
	if len(f.script) > 0 && f.script[0] < 0 {
		f.script = f.script[1:]
		return true, errors.New("nobody there")
	}
	f.isOpen = true
	f.out.WriteByte('>')
	return true, nil
}

func (f *flaky) write(_ context.Context, p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(p)
	if len(f.script) > 0 {
		n, f.script = min(n, f.script[0]), f.script[1:]
	}
	f.out.Write(p[:n])
	if n < len(p) {
		f.isOpen = f.keeps
		return n, errors.New("torn")
	}
	return n, nil
}

func (f *flaky) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.isOpen = false
}

func (f *flaky) wrote() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.out.String()
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestSinkWritesEveryLineWhole(t *testing.T) {
	for _, c := range []struct {
		name   string
		script []int
		keeps  bool
		want   string // ">" is a new connection
	}{
		{"well", nil, false, ">one\ntwo\nthree\n"},
		{"away at first", []int{-1, -1}, false, ">one\ntwo\nthree\n"},
		{"torn between lines", []int{4}, false, ">one\n>two\nthree\n"},
		{"torn in a line", []int{6}, false, ">one\ntw>two\nthree\n"},
		{"torn before the end of a line", []int{7}, false, ">one\ntwo>two\nthree\n"},
		{"torn, and away, and torn", []int{6, -1, 2}, false, ">one\ntw>tw>two\nthree\n"},
		{"full, and goes on where it was", []int{6, 1, 0}, true, ">one\ntwo\nthree\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &flaky{script: c.script, keeps: c.keeps}
				k := newSink("x", d, quiet())
				k.put([][]byte{[]byte("one"), []byte("two"), []byte("three")})
				done := make(chan struct{})
				go func() {
					k.run(t.Context())
					close(done)
				}()
				time.Sleep(time.Minute) //nolint:forbidigo // the bubble's clock
				if got := d.wrote(); got != c.want {
					t.Errorf("wrote %q, want %q", got, c.want)
				}
				if s := k.status(); s.Sent != 3 || s.Queued != 0 || s.Error != "" || !s.Failing.IsZero() {
					t.Errorf("status %+v", s)
				}
				k.queue.close()
				<-done
			})
		})
	}
}

func TestSinkDropsAndTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := make([]int, 1000)
		for i := range away {
			away[i] = -1
		}
		d := &flaky{script: away}
		k := newSink("x", d, quiet())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			k.run(ctx)
			close(done)
		}()
		line := bytes.Repeat([]byte("x"), 1<<20)
		for range 6 {
			k.put([][]byte{line})
		}
		time.Sleep(10 * time.Minute) //nolint:forbidigo // the bubble's clock
		s := k.status()
		if s.Dropped != 2 || s.Queued != 4<<20 || s.Sent != 0 || s.Error != "nobody there" || s.Failing.IsZero() {
			t.Errorf("status %+v, want 2 lines dropped and 4 MiB queued", s)
		}
		// 100 ms, twice as much each time, 5 s at most: in ten minutes about
		// 6 tries of the growing kind and then one each 5 to 7.5 s.
		d.mu.Lock()
		if n := len(d.opens); n < 80 || n > 130 {
			t.Errorf("tried %d times in ten minutes", n)
		}
		for i := 1; i < len(d.opens); i++ {
			if w := d.opens[i].Sub(d.opens[i-1]); w < firstWait || w > 3*maxWait/2 {
				t.Errorf("waited %s after try %d", w, i)
			}
		}
		d.script = nil
		d.mu.Unlock()
		time.Sleep(time.Minute) //nolint:forbidigo // the bubble's clock
		if s := k.status(); s.Sent != 4 || s.Queued != 0 || s.Error != "" || !s.Failing.IsZero() {
			t.Errorf("after the destination came back: %+v", s)
		}
		cancel()
		<-done
	})
}

func TestSinkWithoutLinesEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &flaky{}
		k := newSink("x", d, quiet())
		k.put([][]byte{[]byte("one")})
		begun := time.Now()
		k.run(t.Context())
		if took := time.Since(begun); took != maxIdle || d.isOpen {
			t.Errorf("ended after %s, still open: %t", took, d.isOpen)
		}
	})
}

func TestServerHasOnlySoManySinks(t *testing.T) {
	s := New(Config{Log: quiet()})
	ctx, cancel := context.WithCancel(t.Context())
	s.life = ctx
	dir := t.TempDir()
	for i := range maxSinks + 3 {
		s.take(fmt.Sprintf("file:%s/%d", dir, i), [][]byte{[]byte("x"), []byte("y")})
	}
	s.take("udp:nobody", [][]byte{[]byte("x")})
	s.take("file:", [][]byte{[]byte("x")})
	if n := len(s.Status()); n != maxSinks {
		t.Errorf("%d sinks, want %d", n, maxSinks)
	}
	if s.refused != 5 {
		t.Errorf("%d refusals, want 5", s.refused)
	}
	s.drain(cancel)
}
