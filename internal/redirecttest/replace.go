//go:build linux

package redirecttest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// While rules are replaced by others, every new connection still meets the
// proxy: none slips by, none is refused.
func (u suite) replaceHasNoGap(t *testing.T) {
	s := newScene(t)
	s.play(t)
	variants := []redirect.Rules{everything(), withExclusions()}
	variants[1].Inbound.Ports = []redirect.PortRange{{First: 8079, Last: 8082}} // 8080 changes its set, too
	u.install(t, s.host, variants[0])
	const replacements = 60

	ctx, cancel := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	var mu sync.Mutex
	wrong, right := make(map[string]int), make(map[string]int)
	for _, f := range families {
		in, out, vip := f.at(s.host, 8080), f.at(s.client, 80), netip.AddrPortFrom(f.vip, 80)
		for _, c := range []struct {
			name string
			call func() string
			want string
		}{
			{"inbound", func() string { return call(s.client, in) }, "inbound " + in.String()},
			{"outbound", func() string { return call(s.host, out) }, "outbound " + out.String()},
			{"service", func() string { return call(s.host, vip) }, "outbound " + vip.String()},
		} {
			calls.Go(func() {
				for ctx.Err() == nil {
					got := c.call()
					mu.Lock()
					if got == c.want {
						right[f.name+" "+c.name]++
					} else {
						wrong[fmt.Sprintf("%s %s was answered by %q", f.name, c.name, got)]++
					}
					mu.Unlock()
				}
			})
		}
	}
	for i := range replacements {
		if err := s.host.Do(func() error { return u.New().Apply(t.Context(), variants[i%2]) }); err != nil {
			t.Errorf("replacement %d: %v", i, err)
		}
	}
	cancel()
	calls.Wait()
	for what, n := range wrong {
		t.Errorf("%s, %d times", what, n)
	}
	if len(right) != 6 {
		t.Errorf("not every flow was called: %v", right)
	}
	t.Logf("right answers while rules were replaced %d times: %v", replacements, right)
}

// Several writers come out at one of their wishes, whole, and none fails for
// the others.
func (u suite) writersAtOnce(t *testing.T) {
	s := newScene(t)
	variants := []redirect.Rules{everything(), withExclusions()}
	other := everything()
	other.Table, other.VIPs = "weft-b", nil
	var writers sync.WaitGroup
	const rounds = 20
	for w := range 2 {
		writers.Go(func() {
			for i := range rounds {
				err := s.host.Do(func() error { return u.New().Apply(t.Context(), variants[(i+w)%2]) })
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
				}
			}
		})
	}
	writers.Go(func() {
		for range rounds {
			err := s.host.Do(func() error {
				return errors.Join(u.New().Apply(t.Context(), other), u.New().Remove(t.Context(), other.Table))
			})
			if err != nil {
				t.Errorf("neighbour: %v", err)
			}
		}
	})
	writers.Wait()
	u.install(t, s.host, variants[0])
	if d := u.check(t, s.host, variants[0]); len(d) > 0 {
		t.Errorf("after all: %v", d)
	}
}

// Whoever flushes everything meanwhile does not make Apply fail.
func (u suite) foreignFlushes(t *testing.T) {
	s := newScene(t)
	variants := []redirect.Rules{everything(), withExclusions()}
	for i := range 20 {
		var flusher sync.WaitGroup
		flusher.Go(func() { _, _ = s.host.TryRun(t, "sh", "-c", u.Gone) }) // it may fail, too
		if err := u.apply(t, s.host, variants[i%2]); err != nil {
			t.Errorf("apply %d: %v", i, err)
		}
		flusher.Wait()
	}
	u.install(t, s.host, variants[0])
	if d := u.check(t, s.host, variants[0]); len(d) > 0 {
		t.Errorf("after all: %v", d)
	}
}
