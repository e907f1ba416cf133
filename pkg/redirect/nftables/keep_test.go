//go:build linux

package nftables

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/internal/testtime"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// mendTime is the promise: what is flushed is back within it.
const mendTime = time.Second

// keep keeps rules on a host while the test runs.
func keep(t *testing.T, h *testnet.Host, k *redirect.Keeper) *redirect.Keeper {
	t.Helper()
	k.Engine = New()
	if k.Log == nil {
		k.Log = slog.New(slog.DiscardHandler)
	}
	install(t, h, k.Rules)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Do(func() error { return k.Run(ctx) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	atRest(t, k)
	return k
}

// atRest waits until the keeper listens and has looked at what its own writes
// signed.
func atRest(t testing.TB, k *redirect.Keeper) {
	t.Helper()
	const quiet = 100 * time.Millisecond
	until(t, testnet.Patience, "at rest", func() bool {
		kept := k.Kept()
		return kept.Notified && !kept.Looked.IsZero() && time.Since(kept.Looked) > quiet
	})
}

// until waits for a condition, and fails the test when it does not come true.
func until(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	watch := testtime.Start(t)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if watch.Took() > within {
			t.Fatalf("after %s: not %s", within, what)
		}
		<-tick.C
	}
}

func TestKeeperPutsBack(t *testing.T) {
	for _, c := range []struct {
		name, breakage string
		by             string // who is named
		what           string
	}{
		{"everything", "nft flush ruleset", "nft (pid ", "table inet weft is missing"},
		{"the table", "nft delete table inet weft", "nft (pid ", "table inet weft is missing"},
		{"one rule", `h=$(nft -a list chain inet weft inbound | sed -n 's/.*"inbound: to the proxy" # handle //p'); nft delete rule inet weft inbound handle $h`,
			"nft (pid ", `rule "inbound: to the proxy" in chain inbound is missing`},
		{"a rule more", "nft insert rule inet weft output tcp dport 443 return", "nft (pid ", "is not ours"},
		{"an element", "nft delete element inet weft weft_vips '{ 240.0.0.0/4 }'", "nft (pid ", "set weft_vips is changed"},
		{"the IPv4 route", "ip route del 240.0.0.0/4", "", "route 240.0.0.0/4 dev lo is missing"},
		{"the IPv6 route", "ip -6 route del fd57:6566:7400::/64", "", "route fd57:6566:7400::/64 dev lo is missing"},
		{"a route's source", "ip route replace 240.0.0.0/4 dev lo proto 87", "", "the source of route"},
		{"the loopback device", "ip link set lo down; ip link set lo up", "", "route "},
	} {
		t.Run(c.name, func(t *testing.T) {
			var keeper *redirect.Keeper
			var kept redirect.Kept
			var log *lockedBuffer
			testtime.Soon(t, "a mend", mendTime, func() time.Duration {
				h := testnet.Hosts(t, 1)[0]
				log = new(lockedBuffer)
				k := keep(t, h, &redirect.Keeper{Rules: everything(), Log: slog.New(slog.NewTextHandler(log, nil))})
				keeper = k
				h.Run(t, "sh", "-ec", c.breakage)
				watch := testtime.Start(t)
				until(t, testnet.Patience, "mended", func() bool { return k.Kept().Mends > 0 && len(check(t, h, everything())) == 0 })
				took := watch.Took()
				atRest(t, k) // all mends are logged
				kept = k.Kept()
				return took
			})
			if c.by != "" { // who it was may be told a moment later
				until(t, testnet.Patience, "told who it was", func() bool { kept = keeper.Kept(); return kept.Last.By != "" })
			}
			if got := fmt.Sprint(kept.Last.What); !strings.Contains(got, c.what) {
				t.Errorf("told %s, want %q in it", got, c.what)
			}
			if !strings.HasPrefix(kept.Last.By, c.by) || (c.by == "") != (kept.Last.By == "") {
				t.Errorf("told that %q did it, want %q", kept.Last.By, c.by)
			}
			if n := strings.Count(log.String(), "redirection was mended"); n != kept.Mends {
				t.Errorf("%d mends were logged %d times", kept.Mends, n)
			}
		})
	}
}

// lockedBuffer is a log that can be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Lo that stays down for a while is told, and no reason to give up.
func TestKeeperWaitsForLoopback(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	k := keep(t, h, &redirect.Keeper{Rules: everything()})
	h.Run(t, "ip", "link", "set", "lo", "down")
	until(t, testnet.Patience, "told", func() bool { return strings.Contains(k.Kept().Fault, "ip link set lo up") })
	h.Run(t, "ip", "link", "set", "lo", "up")
	until(t, testnet.Patience, "mended", func() bool { return k.Kept().Mends > 0 && len(check(t, h, everything())) == 0 })
}

// Somebody else's tables are no business of ours, however often they change.
func TestKeeperIgnoresOthers(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	k := keep(t, h, &redirect.Keeper{Rules: everything()})
	changes := watch(t, h, everything())
	before := processorTime(t)
	const writes = 1000
	var script strings.Builder
	for i := range writes {
		fmt.Fprintf(&script, "nft add table ip other%d\nnft delete table ip other%d\n", i%7, i%7)
	}
	// One nft with many transactions: -i commits each line by itself.
	h.Pipe(t, strings.ReplaceAll(script.String(), "nft ", ""), "nft", "-i")
	spent := processorTime(t) - before
	if kept := k.Kept(); kept.Mends != 0 {
		t.Errorf("%d mends for somebody else's tables", kept.Mends)
	}
	// Our table is told of after all of theirs: the line is in order.
	h.Run(t, "nft", "add", "chain", "inet", "weft", "extra")
	select {
	case c := <-changes:
		if !strings.HasPrefix(c.By, "nft") {
			t.Errorf("sign by %q", c.By)
		}
	case <-time.After(testnet.Patience):
		t.Fatal("no sign of the change to our table")
	}
	select {
	case c := <-changes:
		if c.By != "" { // ours: the mend
			t.Errorf("a sign more, by %q", c.By)
		}
	default:
	}
	if spent > time.Second {
		t.Errorf("%d foreign transactions cost us %s of processor time", 2*writes, spent)
	}
	t.Logf("%d foreign transactions cost %s of processor time", 2*writes, spent)
}

func watch(t *testing.T, h *testnet.Host, r redirect.Rules) <-chan redirect.Change {
	t.Helper()
	var changes <-chan redirect.Change
	if err := h.Do(func() (err error) {
		changes, err = New().Watch(t.Context(), r)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return changes
}

// processorTime is what this process has spent.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// More signs than the socket holds are one sign, and not the end of them.
func TestWatchSurvivesLoss(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	install(t, h, everything())
	lost := make(chan redirect.Change, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := h.Do(func() error {
		c, err := listen(unix.NETLINK_NETFILTER, unix.NFNLGRP_NFTABLES)
		if err != nil {
			return err
		}
		if err := c.SetReadBuffer(1); err != nil { // the least that the kernel gives
			return err
		}
		context.AfterFunc(ctx, func() { _ = c.Close() })
		// Nobody reads while the socket overflows.
		for range 50 {
			for _, r := range []redirect.Rules{withExclusions(), everything()} {
				if err := New().Apply(ctx, r); err != nil {
					return err
				}
			}
		}
		never := func(netlink.Message) (redirect.Change, bool) { return redirect.Change{}, false }
		go hear(c, never, lost)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-lost:
	case <-time.After(testnet.Patience):
		t.Fatal("loss was not told")
	}
}

// Whoever flushes in a loop is answered, not fought.
func TestKeeperDoesNotFight(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	k := keep(t, h, &redirect.Keeper{Rules: everything()})
	began := time.Now()
	until(t, testnet.Patience, "paused", func() bool {
		h.Run(t, "nft", "flush", "ruleset")
		return !k.Kept().PausedUntil.IsZero()
	})
	paused, spent := k.Kept(), processorTime(t)
	before := paused.Mends
	const fight = 1500 * time.Millisecond // less than the first pause
	for deadline := time.Now().Add(fight); time.Now().Before(deadline); {
		h.Run(t, "nft", "flush", "ruleset")
	}
	kept := k.Kept()
	if kept.Mends != before && time.Now().Before(paused.PausedUntil) {
		t.Errorf("%d mends in the pause", kept.Mends-before)
	}
	if before < 5 || before > 6 && time.Since(began) < 10*time.Second { // five in so long are a fight
		t.Errorf("%d mends before the pause", before)
	}
	until(t, testnet.Patience, "mended after the pause", func() bool { return k.Kept().Mends > before })
	t.Logf("%d mends in %s, then a pause to %s; %s of processor time, nft's starts included", before, time.Since(began).Round(time.Millisecond), paused.PausedUntil.Format("05.000"), processorTime(t)-spent)
}

// BenchmarkMend measures how long a flush leaves the host without rules, from
// the start of nft to the end of the mend. Each round has a keeper of its own,
// as five mends in ten seconds are a fight.
func BenchmarkMend(b *testing.B) {
	h := testnet.Hosts(b, 1)[0]
	var took []time.Duration
	for range b.N {
		ctx, cancel := context.WithCancel(b.Context())
		k := &redirect.Keeper{Engine: New(), Rules: withExclusions(), Log: slog.New(slog.DiscardHandler)}
		done := make(chan error, 1)
		go func() { done <- h.Do(func() error { return k.Run(ctx) }) }()
		atRest(b, k)
		before, began := k.Kept().Mends, time.Now()
		h.Run(b, "nft", "flush", "ruleset")
		until(b, mendTime, "mended", func() bool { return k.Kept().Mends > before })
		took = append(took, time.Since(began))
		cancel()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-median")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "ms-max")
}
