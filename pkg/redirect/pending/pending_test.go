//go:build linux

package pending

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/redirecttest"
	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/internal/testtime"
	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/sockets"
)

// Of calls that nobody answers, those that rules redirect lose their entries,
// however their callers are told, and no others.
func TestForget(t *testing.T) {
	hosts := testnet.Hosts(t, 2)
	host, peer := hosts[0], hosts[1]
	// Entries are numbered by a mark.
	host.Run(t, "nft", "table inet theirs { chain c { type filter hook output priority 300; ct state new ct mark 0 ct mark set numgen inc mod 100000 offset 1; }; }")
	peer.Run(t, "nft", "table inet theirs { chain c { type filter hook input priority 0; tcp dport 81 drop; }; }")
	own, err := sockets.Look(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	folder := redirecttest.OwnCgroup(t)
	var calls sync.WaitGroup
	defer calls.Wait()
	for i, c := range []struct {
		name  string
		set   func(r *redirect.Rules)
		stays bool
	}{
		{"everybody's", func(*redirect.Rules) {}, false},
		{"nobody's", func(r *redirect.Rules) { r.Outbound.To, r.VIPs = 0, nil }, true},
		{"of a cgroup", func(r *redirect.Rules) { r.Outbound.Only.Cgroups = []string{folder} }, false},
		{"of another cgroup", func(r *redirect.Rules) { r.Outbound.Only.Cgroups = []string{"weft-other"} }, true},
		{"of a user", func(r *redirect.Rules) { r.Outbound.Only.UIDs = []uint32{own.UID} }, false},
		{"of another user", func(r *redirect.Rules) { r.Outbound.Only.UIDs = []uint32{4711} }, true},
		{"of an excluded group", func(r *redirect.Rules) { r.Outbound.Exclude.GIDs = []uint32{own.GID} }, true},
		{"not of an excluded group", func(r *redirect.Rules) { r.Outbound.Exclude.GIDs = []uint32{4711} }, false},
		{"by an excluded interface", func(r *redirect.Rules) { r.Outbound.ExcludeInterfaces = []string{"eth*"} }, true},
		{"not by an excluded interface", func(r *redirect.Rules) { r.Outbound.ExcludeInterfaces = []string{"tun*"} }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			from := netip.AddrPortFrom(host.IP4, uint16(20000+i))
			calls.Go(func() {
				if open, err := host.TryDial("tcp", netip.AddrPortFrom(peer.IP4, 81).String(), testnet.From(from), testnet.Within(patience)); err == nil {
					_ = open.Close()
				}
			})
			before := ""
			watch := testtime.Start(t)
			for before == "" && watch.Took() < testtime.Wait {
				before = number(t, host, from.Port())
			}
			r := redirecttest.Everything()
			c.set(&r)
			if err := host.Do(func() error { return Forget(r) }); err != nil {
				t.Fatal(err)
			}
			if after := number(t, host, from.Port()); before == "" || (after == before) != c.stays {
				t.Errorf("its entry was number %q and is %q; should stay: %t", before, after, c.stays)
			}
		})
	}
}

// patience is how long a caller waits. Nobody answers him.
const patience = 3 * time.Second

// number is that of the entry of a call from a port; "" where there is none.
func number(t *testing.T, h *testnet.Host, from uint16) string {
	t.Helper()
	m := regexp.MustCompile(fmt.Sprintf(` tcp .*? sport=%d .* mark=(\d+)`, from)).FindStringSubmatch(h.Run(t, "cat", "/proc/net/nf_conntrack"))
	if m == nil {
		return ""
	}
	return m[1]
}
