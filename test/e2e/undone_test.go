//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/internal/testtime"
)

// mendLimit is how soon an agent has put back what somebody undid.
const mendLimit = time.Second

// TestUndone has others flush, reload and reorder the rules of hosts under load:
// agents put theirs back within a second and say who it was, what is not theirs
// costs no request, nobody gets in meanwhile who is not permitted, and nobody is
// fought with. (F30)
func TestUndone(t *testing.T) {
	for _, engine := range []string{"nftables", "iptables"} {
		t.Run(engine, func(t *testing.T) { undone(t, engine) })
	}
}

func undone(t *testing.T, engine string) {
	t.Helper()
	l := newLife(t, "--redirect-engine", engine)
	calls := l.Join(t, "spy", "--redirect-engine", engine).Transport(t, "api.mesh")
	flush := []string{"nft", "flush", "ruleset"}
	// One chain of ours gets a rule before all others, and loses what it had.
	reorder := "nft insert rule inet weft $(nft list table inet weft | awk '/chain/{c=$2} /hook output/{print c; exit}') counter accept"
	del := "nft delete table inet weft"
	who, limit := "nft (pid ", mendLimit
	if engine == "iptables" {
		flush = []string{"sh", "-ec", "iptables -t nat -F; iptables -t mangle -F"}
		reorder = "iptables -t nat -I OUTPUT -j ACCEPT; iptables -t mangle -I PREROUTING -j ACCEPT"
		del = "iptables -t nat -F OUTPUT; iptables -t mangle -F PREROUTING"
		who, limit = "", 5*time.Second // tables of old tell nobody: they are looked at
	}
	reload := "printf 'flush ruleset\ntable inet filter { chain input { type filter hook input priority 0; policy accept; ct state established accept; }; }\n' | nft -f -"
	foreign := "iptables -t nat -N DOCKER; iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER; iptables -t nat -F DOCKER; iptables -t nat -D PREROUTING -m addrtype --dst-type LOCAL -j DOCKER; iptables -t nat -X DOCKER"
	sh := func(text string) []string { return []string{"sh", "-ec", text} }
	const both, nft = true, false // engines that a step is for
	steps := []struct {
		name  string
		hosts []*testmesh.Host
		do    []string
		who   string
		free  bool // nothing of ours is touched
		both  bool
	}{
		{"the caller's rules flushed", []*testmesh.Host{l.web}, flush, who, false, both},
		{"the callee's rules flushed", []*testmesh.Host{l.api}, flush, who, false, both},
		{"a firewall reloaded, on all hosts at once", []*testmesh.Host{l.web, l.api, l.rpc}, sh(reload), who, false, nft},
		{"ours taken away", []*testmesh.Host{l.api}, sh(del), who, false, nft},
		{"a rule put before ours", []*testmesh.Host{l.api}, sh(reorder), who, false, both},
		{"the route to services taken away", []*testmesh.Host{l.web}, sh("ip route del 240.0.0.0/4"), "", false, both},
		{"rules of another come and go", []*testmesh.Host{l.web, l.api}, sh(foreign), "", true, both},
	}
	for _, s := range steps {
		if engine != "nftables" && !s.both {
			continue
		}
		most := 1 << 20
		if s.free {
			most = 0
		}
		denied := watchDenied(t, l, calls)
		l.step(t, s.name, most, func(t *testing.T) {
			for _, h := range s.hosts {
				undo(t, h, s.do, s.who, s.free, limit)
			}
		})
		denied(t, s.name)
	}
	if engine == "nftables" {
		denied := watchDenied(t, l, calls)
		l.step(t, "somebody flushes again and again", 1<<20, func(t *testing.T) { fight(t, l.web, flush) })
		denied(t, "a fight")
		l.step(t, "and has stopped", 0, func(*testing.T) {})
	}
}

// undo does something to a host's rules, and wants it mended and told.
func undo(t *testing.T, h *testmesh.Host, do []string, who string, free bool, limit time.Duration) {
	t.Helper()
	if free {
		before := h.Status(t).Kept.Mends
		h.Run(t, do[0], do[1:]...)
		h.WaitWell(t)
		if now := h.Status(t).Kept.Mends; now != before {
			t.Errorf("%s: mended %d times for what is not its own", h.Name, now-before)
		}
		return
	}
	testtime.Soon(t, "the mend at "+h.Name, limit, func() time.Duration {
		before := h.Status(t).Kept.Mends
		began := time.Now()
		h.Run(t, do[0], do[1:]...)
		var last time.Time
		testmesh.Eventually(t, h.Name+" mends and tells", func() error {
			kept := h.Status(t).Kept
			if kept.Mends <= before || !strings.HasPrefix(kept.Last.By, who) {
				return fmt.Errorf("status says %+v", kept)
			}
			last = kept.Last.At
			return nil
		})
		h.WaitWell(t)
		took := last.Sub(began)
		t.Logf("%s: mended after %s", h.Name, took.Round(time.Millisecond))
		return took
	})
}

// fight undoes a host's rules as soon as they are mended, and wants the agent to
// mend ever more seldom and to say whom it is up against.
func fight(t *testing.T, h *testmesh.Host, do []string) {
	t.Helper()
	const long = 12 * time.Second
	before := h.Status(t).Kept.Mends
	end := time.After(long)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for on := true; on; {
		select {
		case <-tick.C:
			h.Run(t, do[0], do[1:]...)
		case <-end:
			on = false
		}
	}
	// Five at once, less those of the steps within 10 s before, then with pauses of
	// 2 s, 4 s and so on.
	if mends := h.Status(t).Kept.Mends - before; mends < 2 || mends > 9 {
		t.Errorf("mended %d times in %s in which it was undone all the while, want 2 to 9", mends, long)
	}
	out, err := h.Agent(t, "status")
	if err == nil || !strings.Contains(out, "undoes it again and again") || !strings.Contains(out, "after nft (pid ") {
		t.Errorf("status does not tell of the fight: %v\n%s", err, out)
	}
	testmesh.Eventually(t, "the rules are back when it is over", func() error {
		if out, err := h.Agent(t, "status"); err != nil {
			return errors.Join(err, errors.New(out))
		}
		return nil
	})
}
