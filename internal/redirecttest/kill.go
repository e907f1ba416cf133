//go:build linux

package redirecttest

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// Whoever applies rules and is killed, at whatever moment, leaves the host in
// the state before or after, in both families alike. The next Apply and Remove
// give back the old world.
func (u suite) killedWhileApplying(t *testing.T) {
	const hosts = 4
	kills := often(u.Kills, 200) / hosts // on each
	var mu sync.Mutex
	states := make(map[string]int)
	for n := range hosts {
		t.Run(fmt.Sprint("host ", n+1), func(t *testing.T) {
			t.Parallel()
			u.killOften(t, kills, func(state string) {
				mu.Lock()
				defer mu.Unlock()
				states[state]++
			})
		})
	}
	t.Cleanup(func() {
		t.Logf("killed %d times, the hosts had %v", hosts*kills, states)
		if len(states) < 2 && !t.Failed() {
			t.Errorf("every kill came in the same state: %v", states)
		}
	})
}

func (u suite) killOften(t *testing.T, kills int, found func(state string)) {
	t.Helper()
	const rounds = 10 // kills between two looks at everything
	s := newScene(t)
	s.play(t)
	for _, f := range families {
		says(s.host.Listen(t, f.all+":8090"), "workload")
	}
	settleNeighbours(t, s.host)
	before := u.snapshot(t, s.host)
	a, b := everything(), withExclusions()
	a.Inbound.Ports = []redirect.PortRange{{First: 8080, Last: 8080}}
	b.Inbound.Ports = []redirect.PortRange{{First: 8090, Last: 8090}}
	span := 25 * time.Millisecond // in which two applies and a removal come
	for i := range kills {
		u.killOnce(t, s, rand.N(span), a, b)
		got := []string{stateOf(s, families[0]), stateOf(s, families[1])}
		found(got[0])
		if got[0] != got[1] || strings.HasPrefix(got[0], "neither") {
			t.Errorf("kill %d left IPv4 with %s and IPv6 with %s", i, got[0], got[1])
		}
		began := time.Now()
		u.install(t, s.host, a)
		span = 2 * time.Since(began)
		u.agrees(t, s.host, a)
		u.uninstall(t, s.host)
		if i%rounds == rounds-1 || i == kills-1 {
			if diff := cmp.Diff(before, u.snapshot(t, s.host)); diff != "" {
				t.Fatalf("after %d kills the host is not what it was (-before +after):\n%s", i+1, diff)
			}
		}
		if t.Failed() {
			return
		}
	}
}

// killOnce lets a process apply rules for a while and kills it.
func (u suite) killOnce(t *testing.T, s scene, after time.Duration, rules ...redirect.Rules) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var texts []string
	for _, r := range rules {
		texts = append(texts, textOf(t, r))
	}
	cmd := u.child(ctx, t, s.host, "churn", texts...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.host.Start(cmd); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if _, err := lines.ReadString('\n'); err != nil {
		_ = cmd.Wait()
		t.Fatalf("the child ended: %v\n%s", err, errs.String())
	}
	timer := time.NewTimer(after)
	defer timer.Stop()
	<-timer.C
	cancel() // kills
	_ = cmd.Wait()
	if errs.Len() > 0 {
		t.Fatalf("the child said: %s", errs.String())
	}
}

// stateOf tells in which state calls find a host: the rules of the first port,
// those of the second, none, or neither of these.
func stateOf(s scene, f family) string {
	first, second, out := f.at(s.host, 8080), f.at(s.host, 8090), f.at(s.client, 80)
	got := fmt.Sprint(call(s.client, first), ", ", call(s.client, second), ", ", call(s.host, out))
	switch got {
	case fmt.Sprint("inbound ", first, ", workload, outbound ", out):
		return "the first"
	case fmt.Sprint("workload, inbound ", second, ", outbound ", out):
		return "the second"
	case "workload, workload, client":
		return "none"
	}
	return "neither: " + got
}
