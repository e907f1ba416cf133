package envoy

import (
	"slices"
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	const ms = time.Millisecond
	var b backoff
	var got []time.Duration
	for _, lived := range []time.Duration{0, 0, time.Second, 0, 0, 0, 0, 0, 0, 0, 0, longEnough, 0} {
		got = append(got, b.next(lived))
	}
	want := []time.Duration{
		100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 6400 * ms, 12800 * ms, 25600 * ms,
		maxWait, maxWait, // the cap
		100 * ms, 200 * ms, // a long life makes good
	}
	if !slices.Equal(got, want) {
		t.Errorf("waits\n%v, want\n%v", got, want)
	}
	var first backoff
	if w := first.next(time.Hour); w >= time.Second {
		t.Errorf("the first wait is %s, must be below 1 s", w)
	}
}
