package identity

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/token"
)

func TestRenewalIsAtHalfWithJitter(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	life := 100 * time.Hour
	seen := map[time.Duration]bool{}
	for n := range 256 {
		c := &x509.Certificate{NotBefore: start, NotAfter: start.Add(life), SerialNumber: big.NewInt(int64(n) + 256)}
		at := renewal(c).Sub(start)
		if at < 45*time.Hour || at > 55*time.Hour {
			t.Fatalf("serial %d: renewed after %s of %s", n, at, life)
		}
		if again := renewal(c); !again.Equal(renewal(c)) {
			t.Error("two readings differ")
		}
		seen[at] = true
	}
	if len(seen) < 200 {
		t.Errorf("256 hosts renew at %d moments", len(seen))
	}
}

// calls runs keep in a bubble for the given time and returns when renew was
// called, counted from the start.
func calls(t *testing.T, length time.Duration, next func(n int, now time.Time) (due time.Time, err error)) (at []time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), length)
		defer cancel()
		due, _ := next(0, start)
		keep(ctx, time.Now, func() (time.Time, bool) { return due, true }, nil, nil, func(context.Context) error {
			at = append(at, time.Since(start))
			d, err := next(len(at), time.Now())
			if err == nil {
				due = d
			}
			return err
		})
	})
	return at
}

func TestKeepRenewsWhenDue(t *testing.T) {
	got := calls(t, 20*time.Hour, func(_ int, now time.Time) (time.Time, error) { return now.Add(5*time.Hour + 30*time.Minute), nil })
	if len(got) != 3 || got[0] != 5*time.Hour+30*time.Minute || got[2] != 3*got[0] {
		t.Errorf("renewed at %v", got)
	}
}

func TestKeepBacksOff(t *testing.T) {
	got := calls(t, time.Hour, func(n int, now time.Time) (time.Time, error) {
		if n == 0 {
			return now, nil
		}
		return now, errors.New("no control plane")
	})
	if len(got) < 15 || len(got) > 25 {
		t.Errorf("%d tries in an hour: %v", len(got), got)
	}
	for n := 1; n < len(got); n++ {
		if wait := got[n] - got[n-1]; wait < 800*time.Millisecond || wait > lastRetry {
			t.Errorf("try %d came %s after the one before", n, wait)
		}
	}
	if wait := got[len(got)-1] - got[len(got)-2]; wait < 4*time.Minute {
		t.Errorf("after an hour it still asks every %s", wait)
	}
}

// A control plane that signs what is due at once is not asked in a loop.
func TestKeepDoesNotSpin(t *testing.T) {
	got := calls(t, time.Hour, func(_ int, now time.Time) (time.Time, error) { return now.Add(-time.Second), nil })
	if len(got) > 25 {
		t.Errorf("%d tries in an hour", len(got))
	}
}

func TestKeepRecovers(t *testing.T) {
	got := calls(t, 3*time.Hour, func(n int, now time.Time) (time.Time, error) {
		switch {
		case n == 0:
			return now, nil
		case n < 4:
			return now, errors.New("no control plane")
		default:
			return now.Add(time.Hour), nil
		}
	})
	if len(got) < 5 || got[4]-got[3] != time.Hour {
		t.Errorf("renewed at %v", got)
	}
}

// Hosts that waited for long come back soon after a control plane does, and not
// all at once.
func TestKeepSpreadsReturns(t *testing.T) {
	var returns []time.Duration
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			back := make(chan struct{}, 1)
			there := make(chan time.Time, 1)
			var up time.Time
			due := time.Now()
			go keep(ctx, time.Now, func() (time.Time, bool) { return due, true }, nil, back, func(context.Context) error {
				if up.IsZero() {
					return errors.New("no control plane")
				}
				due = time.Now().Add(time.Hour)
				there <- time.Now()
				return nil
			})
			<-time.After(time.Hour) // fake time
			synctest.Wait()
			up = time.Now()
			back <- struct{}{}
			returns = append(returns, (<-there).Sub(up))
		})
	}
	first, last := slices.Min(returns), slices.Max(returns)
	t.Logf("200 hosts came back from %s to %s after the control plane", first, last)
	if last-first < 10*time.Second || last > returnSpread {
		t.Errorf("200 hosts came back from %s to %s after the control plane", first, last)
	}
}

func TestKeepWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wake := make(chan struct{}, 1)
		renewed := make(chan struct{})
		due, ok := time.Time{}, false
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			keep(ctx, time.Now, func() (time.Time, bool) { return due, ok }, wake, nil, func(context.Context) error {
				due = time.Now().Add(time.Hour)
				close(renewed)
				return nil
			})
		}()
		synctest.Wait()
		due, ok = time.Now(), true
		wake <- struct{}{}
		<-renewed
		cancel()
		<-done
	})
}

// Run renews both certificates with a real control plane, and registers a
// Dataplane that could not be registered before.
func TestRunRenews(t *testing.T) {
	w := newWorld(t)
	i := w.joined(t, token.Claims{})
	i.Addresses = []string{"127.0.0.1:1"} // nobody is there
	if err := register(t, i, doc("default", "web-1", "web")); err == nil {
		t.Fatal("registered with nobody")
	}
	if s := i.Status(); s.Registered || s.LastError == "" {
		t.Errorf("status %+v", s)
	}
	i.Addresses = []string{w.address}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- i.Run(ctx) }()

	first := newCertificate(t, i, nil)
	agent := i.Status().Agent.Expires

	w.pass(5 * 24 * time.Hour) // past half of the workload's certificate
	i.poke()                   // a timer would notice within the hour
	second := newCertificate(t, i, first)
	if !i.Status().Agent.Expires.Equal(agent) {
		t.Error("not the workload's certificate alone was renewed")
	}

	w.pass(12 * 24 * time.Hour) // past half of the agent's
	i.poke()
	third := newCertificate(t, i, second)
	if got := i.Status().Agent.Expires; !got.After(agent) {
		t.Errorf("the agent's certificate still expires on %s", got)
	}
	must(t, register(t, w.open(t, i.files.dir), doc("default", "web-1", "web"))) // and was saved

	i.Renew()
	newCertificate(t, i, third)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// newCertificate waits for a workload certificate that is not old. More than
// certificates changes what is in force: grace begins where nobody is heard.
func newCertificate(t *testing.T, i *Identity, old []byte) []byte {
	t.Helper()
	for {
		s, changed := i.Current()
		if s.Version != "" && !bytes.Equal(s.Certificate, old) {
			return s.Certificate
		}
		wait(t, changed)
	}
}

func TestRunTellsWhatIsWrong(t *testing.T) {
	w := newWorld(t)
	i := w.joined(t, token.Claims{})
	must(t, register(t, i, doc("default", "web-1", "web")))
	w.pass(31 * 24 * time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	logged := make(chan struct{}, 100)
	w.log.notify(logged)
	done := make(chan error)
	go func() { done <- i.Run(ctx) }()
	wait(t, logged)
	cancel()
	must(t, <-done)
	if !strings.Contains(w.log.String(), "certificates not renewed") || !strings.Contains(i.Status().LastError, "weft-agent join") {
		t.Errorf("log %s\nstatus %+v", w.log, i.Status())
	}
}

func wait(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		t.Fatal("nothing happened in a minute")
	}
}
