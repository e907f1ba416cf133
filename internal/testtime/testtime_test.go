package testtime

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestWatch(t *testing.T) {
	start := time.Now()
	w := &Watch{began: start, last: start}
	for _, look := range []struct{ at, stood int }{{10, 0}, {40, 0}, {5040, 4990}, {5050, 4990}, {5081, 5011}} {
		w.look(start.Add(time.Duration(look.at) * time.Millisecond))
		if got := w.Stood(); got != time.Duration(look.stood)*time.Millisecond {
			t.Errorf("after %d ms it stood still for %s, want %d ms", look.at, got, look.stood)
		}
	}
}

func TestSoon(t *testing.T) {
	for _, c := range []struct {
		name   string
		took   []time.Duration
		tries  int
		failed bool
	}{
		{"at once", []time.Duration{1}, 1, false},
		{"late once", []time.Duration{3, 2}, 2, false},
		{"late twice", []time.Duration{3, 3, 1}, 3, false},
		{"always late", []time.Duration{3, 4, 5}, 3, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := 0
			r := &recorder{TB: t}
			Soon(r, "it", 2, func() time.Duration { n++; return c.took[n-1] })
			if n != c.tries || r.failed != c.failed {
				t.Errorf("%d tries, failed %t; want %d, %t", n, r.failed, c.tries, c.failed)
			}
		})
	}
}

// recorder is a test that fails without this one doing so.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Errorf(string, ...any) { r.failed = true }
func (r *recorder) Failed() bool          { return r.failed }

func TestStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := Start(t)
		<-time.After(time.Second) // fake time
		synctest.Wait()
		if took, stood := w.Took(), w.Stood(); took != time.Second || stood != 0 {
			t.Errorf("took %s, and stood still for %s", took, stood)
		}
	})
}
