//go:build linux

package redirecttest

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/internal/testtime"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// mendTime is the promise: what is flushed is back within it, where the engine
// hears of changes. Others are looked at every ten seconds.
const (
	mendTime  = time.Second
	blindTime = 12 * time.Second
)

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

// What somebody takes away is back, counted and logged; what is removed on
// purpose stays away.
func (u suite) keeperPutsBack(t *testing.T) {
	within := blindTime
	if _, ok := u.New().(redirect.Watcher); ok {
		within = mendTime
	}
	for name, script := range map[string]string{
		"everything":     u.Gone + "; ip route flush proto 87; ip -6 route flush proto 87",
		"the rules":      u.Gone,
		"the IPv4 route": "ip route del 240.0.0.0/4",
		"the IPv6 route": "ip -6 route del fd57:6566:7400::/64",
		"loopback":       "ip link set lo down; ip link set lo up",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var k *redirect.Keeper
			var log *lockedBuffer
			testtime.Soon(t, "a mend", within, func() time.Duration {
				h := testnet.Hosts(t, 1)[0]
				log = new(lockedBuffer)
				k = &redirect.Keeper{Engine: u.New(), Rules: everything(), Log: slog.New(slog.NewTextHandler(log, nil))}
				u.install(t, h, k.Rules)
				keep(t, h, k)
				h.Run(t, "sh", "-ec", script)
				watch := testtime.Start(t)
				until(t, within+testnet.Patience, func() string {
					if k.Kept().Mends == 0 {
						return "not mended: " + k.Kept().Fault
					}
					return u.differs(t, h, everything()) // the script may have gone on after the first mend
				})
				return watch.Took()
			})
			if kept := k.Kept(); len(kept.Last.What) == 0 || !bytes.Contains([]byte(log.String()), []byte("redirection was mended")) {
				t.Errorf("kept %+v, logged %s", kept, log)
			}
		})
	}
	t.Run("not what was removed", func(t *testing.T) {
		t.Parallel()
		h := testnet.Hosts(t, 1)[0]
		var mu sync.Mutex
		on, asked := true, 0
		k := &redirect.Keeper{Engine: u.New(), Rules: everything(), Log: slog.New(slog.DiscardHandler), Wanted: func() (redirect.Rules, bool, error) {
			mu.Lock()
			defer mu.Unlock()
			asked++
			return everything(), on, nil
		}}
		u.install(t, h, k.Rules)
		keep(t, h, k)
		mu.Lock()
		on, asked = false, 0
		mu.Unlock()
		u.uninstall(t, h)
		until(t, within+testnet.Patience, func() string {
			mu.Lock()
			defer mu.Unlock()
			if asked == 0 {
				return "not looked"
			}
			return ""
		})
		if k.Kept().Mends != 0 || len(u.check(t, h, everything())) == 0 {
			t.Error("what was taken off came back")
		}
	})
}
