package redirect

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A fakeHost is an engine with the host that it acts on.
type fakeHost struct {
	mu      sync.Mutex
	inForce bool
	broken  error // what Apply fails with
	looks   int
	applies []time.Time
	removes int
	onApply func() // with mu held

	changes chan Change // nil: not a Watcher
}

func (h *fakeHost) Apply(context.Context, Rules) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.applies = append(h.applies, time.Now())
	if h.broken == nil {
		h.inForce = true
	}
	if h.onApply != nil {
		h.onApply()
	}
	h.sign("") // as the kernel does of our own writes
	return h.broken
}

func (h *fakeHost) Check(context.Context, Rules) ([]Difference, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looks++
	if h.inForce {
		return nil, nil
	}
	return []Difference{{What: "table inet weft", Is: "missing", Remedy: "apply the rules again"}}, nil
}

func (h *fakeHost) Remove(context.Context, string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.inForce = false
	h.removes++
	return nil
}

func (h *fakeHost) Describe(Rules) (string, error) { return "", nil }

func (h *fakeHost) sign(by string) {
	select {
	case h.changes <- Change{By: by}:
	default:
	}
}

func (h *fakeHost) flush(by string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.inForce = false
	h.sign(by)
}

func (h *fakeHost) count() (applies, looks, removes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.applies), h.looks, h.removes
}

type watchedHost struct{ *fakeHost }

func (h watchedHost) Watch(context.Context, Rules) (<-chan Change, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changes, nil
}

// keep runs a Keeper in a bubble until the test of it ends.
func keep(t *testing.T, h *fakeHost, log *bytes.Buffer, wanted func() (Rules, bool, error)) *Keeper {
	k := &Keeper{Engine: h, Wanted: wanted, Log: slog.New(slog.NewTextHandler(log, nil))}
	if h.changes != nil {
		k.Engine = watchedHost{h}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	synctest.Wait()
	return k
}

// pass lets time go by on the bubble's clock.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestKeeperMends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		h := &fakeHost{inForce: true, changes: make(chan Change, 16)}
		k := keep(t, h, &log, nil)
		if kept := k.Kept(); !kept.Notified || kept.Mends != 0 {
			t.Errorf("at rest: %+v", kept)
		}
		h.flush("nft (pid 7)")
		pass(settle)
		kept := k.Kept()
		if kept.Mends != 1 || kept.Last.By != "nft (pid 7)" || len(kept.Last.What) != 1 {
			t.Errorf("after a flush: %+v", kept)
		}
		if got := log.String(); strings.Count(got, "redirection was mended") != 1 || !strings.Contains(got, "table inet weft is missing") || !strings.Contains(got, "nft (pid 7)") {
			t.Errorf("log: %s", got)
		}
		_, before, _ := h.count()
		pass(lookNotified - time.Second)
		if applies, looks, _ := h.count(); applies != 1 || looks != before+1 {
			t.Errorf("our own write was followed by %d looks and %d mends, want 1 and none", looks-before, applies-1)
		}
	})
}

// A thousand signs within an instant are one look.
func TestKeeperLetsChangesSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fakeHost{inForce: true, changes: make(chan Change)}
		keep(t, h, new(bytes.Buffer), nil)
		_, before, _ := h.count()
		for range 1000 {
			h.changes <- Change{}
		}
		pass(2 * settle)
		if _, looks, _ := h.count(); looks != before+1 {
			t.Errorf("1000 signs made %d looks", looks-before)
		}
	})
}

// Without signs, what is missing is found by looking.
func TestKeeperWithoutSigns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fakeHost{inForce: true}
		k := keep(t, h, new(bytes.Buffer), nil)
		h.flush("")
		pass(lookBlind)
		if kept := k.Kept(); kept.Mends != 1 || kept.Notified {
			t.Errorf("after %s: %+v", lookBlind, kept)
		}
	})
}

// Signs that end are replaced by looking, and asked for again.
func TestKeeperLosesItsSigns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fakeHost{inForce: true, changes: make(chan Change)}
		k := keep(t, h, new(bytes.Buffer), nil)
		close(h.changes)
		synctest.Wait()
		h.mu.Lock()
		h.changes, h.inForce = make(chan Change, 1), false
		h.mu.Unlock()
		pass(time.Second)
		if kept := k.Kept(); kept.Mends != 1 || !kept.Notified {
			t.Errorf("after the signs ended: %+v", kept)
		}
	})
}

// A fight is five mends, then ever fewer, and told; when it is over the next
// mend is at once again.
func TestKeeperDoesNotFight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		h := &fakeHost{inForce: true, changes: make(chan Change, 16)}
		k := keep(t, h, &log, nil)
		fight, end := context.WithCancel(t.Context())
		var fighter sync.WaitGroup
		fighter.Go(func() {
			for fight.Err() == nil {
				h.flush("nft (pid 7)")
				<-time.After(10 * time.Millisecond)
			}
		})
		pass(10 * time.Minute)
		applies, looks, _ := h.count()
		if applies < 10 || applies > 5+6+10 {
			t.Errorf("%d mends in ten minutes' fight", applies)
		}
		if most := 2*applies + 2; looks > most {
			t.Errorf("%d looks in ten minutes' fight, want at most %d", looks, most)
		}
		if kept := k.Kept(); kept.PausedUntil.IsZero() {
			t.Errorf("a pause is not told: %+v", kept)
		}
		if got := log.String(); !strings.Contains(got, "mending is paused") || !strings.Contains(got, "nft (pid 7)") {
			t.Errorf("log: %.300s", got)
		}
		h.mu.Lock()
		for i := len(h.applies) - 3; i < len(h.applies); i++ {
			if gap := h.applies[i].Sub(h.applies[i-1]); gap < longPause {
				t.Errorf("mends %s apart after minutes of fight", gap)
			}
		}
		h.mu.Unlock()
		end()
		fighter.Wait()
		pass(3 * longPause)
		if kept := k.Kept(); !kept.PausedUntil.IsZero() {
			t.Errorf("after the fight: %+v", kept)
		}
		before, _, _ := h.count()
		h.flush("")
		pass(settle)
		if applies, _, _ := h.count(); applies != before+1 {
			t.Error("the first flush after the fight was not mended at once")
		}
	})
}

// What is taken off on purpose stays off, also when that comes while a mend is
// under way.
func TestKeeperLeavesOffWhatIsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fakeHost{inForce: true, changes: make(chan Change, 16)}
		var mu sync.Mutex
		on := true
		set := func(v bool) { mu.Lock(); defer mu.Unlock(); on = v }
		keep(t, h, new(bytes.Buffer), func() (Rules, bool, error) { mu.Lock(); defer mu.Unlock(); return Rules{}, on, nil })
		h.mu.Lock()
		h.onApply = func() { set(false) }
		h.mu.Unlock()
		h.flush("")
		pass(time.Second)
		if applies, _, removes := h.count(); applies != 1 || removes != 1 {
			t.Errorf("switched off during a mend: %d mends, %d removals", applies, removes)
		}
		h.flush("")
		pass(time.Hour)
		if applies, _, removes := h.count(); applies != 1 || removes != 1 || h.inForce {
			t.Errorf("switched off: %d mends, %d removals", applies, removes)
		}
	})
}

// While nobody can be asked what is wanted, nothing is mended and nothing
// taken off.
func TestKeeperThatCannotAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fakeHost{inForce: true, changes: make(chan Change, 16)}
		var mu sync.Mutex
		var fault error
		set := func(err error) { mu.Lock(); defer mu.Unlock(); fault = err }
		k := keep(t, h, new(bytes.Buffer), func() (Rules, bool, error) { mu.Lock(); defer mu.Unlock(); return Rules{}, fault == nil, fault })
		h.mu.Lock()
		h.onApply = func() { set(errors.New("the disk is away")) }
		h.mu.Unlock()
		h.flush("")
		pass(time.Second)
		if applies, _, removes := h.count(); applies != 1 || removes != 0 {
			t.Errorf("asked in vain after a mend: %d mends, %d removals", applies, removes)
		}
		h.flush("")
		pass(time.Minute)
		if applies, _, removes := h.count(); applies != 1 || removes != 0 || !strings.Contains(k.Kept().Fault, "the disk is away") {
			t.Errorf("asked in vain: %d mends, %d removals, %+v", applies, removes, k.Kept())
		}
		h.mu.Lock()
		h.onApply = nil
		h.mu.Unlock()
		set(nil)
		pass(lookBlind)
		if applies, _, _ := h.count(); applies != 2 {
			t.Errorf("asked again: %d mends", applies)
		}
	})
}

// A mend that fails is told once, tried again, and is no mend.
func TestKeeperGoesOnAfterFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		h := &fakeHost{changes: make(chan Change, 16), broken: errors.New("the loopback device is down")}
		k := keep(t, h, &log, nil)
		pass(time.Minute)
		applies, _, _ := h.count()
		if most := int(time.Minute/holdOff) + 1; applies < 2 || applies > most {
			t.Errorf("%d attempts in a minute, want 2 to %d", applies, most)
		}
		if kept := k.Kept(); kept.Mends != 0 || !strings.Contains(kept.Fault, "the loopback device is down") {
			t.Errorf("while it fails: %+v", kept)
		}
		if n := strings.Count(log.String(), "was not mended"); n != 1 {
			t.Errorf("the fault was logged %d times", n)
		}
		h.mu.Lock()
		h.broken = nil
		h.mu.Unlock()
		h.flush("")
		pass(time.Second)
		if kept := k.Kept(); kept.Mends != 1 || kept.Fault != "" {
			t.Errorf("after the fault: %+v", kept)
		}
	})
}

// recaller is a host on which calls can be told that began without the rules.
type recaller struct {
	watchedHost
	recalled chan struct{}
}

func (r recaller) Recall(context.Context, Rules) error {
	r.recalled <- struct{}{}
	return nil
}

// Whoever called before his new cgroup was in the rules is recalled, once, and
// nothing is mended for it.
func TestKeeperRecalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := recaller{watchedHost{&fakeHost{inForce: true, changes: make(chan Change, 16)}}, make(chan struct{}, 16)}
		k := &Keeper{Engine: h, Log: slog.New(slog.DiscardHandler)}
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() { _ = k.Run(ctx) })
		pass(time.Second)
		h.changes <- Change{}
		pass(time.Second)
		if n := len(h.recalled); n != 0 {
			t.Errorf("%d recalls though no cgroup came", n)
		}
		h.changes <- Change{Came: true}
		h.changes <- Change{}
		pass(time.Minute)
		if n := len(h.recalled); n != 1 || k.Kept().Mends != 0 {
			t.Errorf("%d recalls and %d mends when a cgroup came", n, k.Kept().Mends)
		}
		cancel()
		done.Wait()
	})
}
