//go:build linux

package redirecttest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// changing are rules of many kinds under which the same calls are taken in.
func (u suite) changing(t *testing.T) []redirect.Rules {
	t.Helper()
	ports := withExclusions()
	ports.Inbound.Ports = []redirect.PortRange{{First: 8079, Last: 8082}} // 8080 changes its set, too
	all := everything()
	all.Inbound.Ports, all.Inbound.All = nil, true
	all.Inbound.ExcludePorts = []redirect.PortRange{{First: 22, Last: 22}}
	rewritten, leased, scoped := ports, everything(), everything()
	rewritten.Inbound.Method = redirect.Rewrite
	leased.FailOpen = time.Hour
	scoped.Outbound.Only.UIDs, scoped.Outbound.ExcludeInterfaces = []uint32{0, 1000}, []string{"tun*"}
	scoped.Outbound.Exclude.GIDs, scoped.Proxy.UIDs = []uint32{1000}, []uint32{1337}
	kinds := []redirect.Rules{everything(), ports, all, rewritten, leased, scoped}
	var out []redirect.Rules
	h := testnet.Hosts(t, 1)[0]
	for _, r := range kinds {
		if !u.refuses(t, h, r) {
			out = append(out, r)
		}
	}
	return out
}

// While rules are replaced by others, every new connection still meets the
// proxy: none slips by, none is refused. A session that is open goes on.
func (u suite) replaceHasNoGap(t *testing.T) {
	replacements := often(u.Replacements, 500)
	const (
		perSecond = 2000 // calls
		callers   = 4    // of each kind, as a call takes a while
	)
	s := newScene(t)
	s.play(t)
	variants := u.changing(t)
	u.install(t, s.host, variants[0])
	session := s.host.Listen(t, s.host.IP4.String()+":2222")
	ssh := s.client.Dial(t, "tcp", session.Addr().String())
	sshd := session.Accept(t)

	ctx, cancel := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	var mu sync.Mutex
	wrong, right, total := make(map[string]int), make(map[string]int), 0
	const kinds = 6
	for _, f := range families {
		in, out, vip := f.at(s.host, 8080), f.at(s.client, 80), netip.AddrPortFrom(f.vip, 80)
		for _, c := range []flow{
			{name: "inbound", from: s.client, to: in, want: "inbound " + in.String()},
			{name: "outbound", from: s.host, to: out, want: "outbound " + out.String()},
			{name: "service", from: s.host, to: vip, want: "outbound " + vip.String()},
		} {
			for range callers {
				calls.Go(func() {
					if err := c.from.Do(func() error { // once, and not for each call
						for next := time.Now(); ctx.Err() == nil; next = next.Add(time.Second * kinds * callers / perSecond) {
							next = latest(next, time.Now().Add(-time.Second)) // who is later than that has lost his turns
							<-time.After(time.Until(next))
							got := callHere(c.to)
							mu.Lock()
							if total++; got == c.want {
								right[f.name+" "+c.name]++
							} else {
								wrong[fmt.Sprintf("%s %s was answered by %q", f.name, c.name, got)]++
							}
							mu.Unlock()
						}
						return nil
					}); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
	began := time.Now()
	for i := range replacements {
		if err := u.apply(t, s.host, variants[i%len(variants)]); err != nil {
			t.Errorf("replacement %d: %v", i, err)
		}
		if i%50 == 0 {
			exchange(t, ssh, sshd)
		}
	}
	took := time.Since(began)
	cancel()
	calls.Wait()
	for what, n := range wrong {
		t.Errorf("%s, %d times", what, n)
	}
	if len(right) != kinds {
		t.Errorf("not every flow was called: %v", right)
	}
	t.Logf("%d replacements by %d kinds of rules, %s each, under %.0f calls a second", replacements, len(variants), took/time.Duration(replacements), float64(total)/took.Seconds())
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// callHere calls from the calling thread's network namespace and returns the
// answer. It is for who calls thousands of times: a thread that waits in the kernel
// costs a third of what a namespace entered and left, and a poller, do.
func callHere(to netip.AddrPort) string {
	family, address := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: int(to.Port()), Addr: [4]byte(to.Addr().AsSlice())})
	if to.Addr().Is6() {
		family, address = unix.AF_INET6, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	}
	s, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = unix.Close(s) }()
	within := unix.NsecToTimeval(testnet.DialTimeout.Nanoseconds())
	for _, which := range []int{unix.SO_SNDTIMEO, unix.SO_RCVTIMEO} { // the first is for connect
		if err := unix.SetsockoptTimeval(s, unix.SOL_SOCKET, which, &within); err != nil {
			return err.Error()
		}
	}
	err = unix.Connect(s, address)
	for errors.Is(err, unix.EINTR) || errors.Is(err, unix.EALREADY) { // a signal to this process: it goes on calling
		err = unix.Connect(s, address)
	}
	if err != nil && !errors.Is(err, unix.EISCONN) {
		return failure(err)
	}
	var answer []byte
	for b := make([]byte, 128); ; {
		n, err := unix.Read(s, b)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return failure(err)
		case n == 0:
			return string(answer)
		default:
			answer = append(answer, b[:n]...)
		}
	}
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

// Whoever writes and flushes all the time does not make Apply fail, unless it
// takes several runs of a program; and in the end the rules are in force.
func (u suite) foreignWriter(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	variants := []redirect.Rules{everything(), withExclusions()}
	var stop atomic.Bool
	var writer sync.WaitGroup
	rounds := 0
	writer.Go(func() {
		script := "nft add table ip theirs; nft add chain ip theirs c; nft add rule ip theirs c counter; nft delete table ip theirs; " + u.Gone
		for ; !stop.Load(); rounds++ {
			_, _ = h.TryRun(t, "sh", "-c", script) // it may fail, too
		}
	})
	applies := 50
	if u.Disturbed {
		applies = 5 // each tries often, and long
	}
	for i := range applies {
		if err := u.apply(t, h, variants[i%2]); err != nil && !u.Disturbed {
			t.Errorf("apply %d: %v", i, err)
		}
	}
	stop.Store(true)
	writer.Wait()
	t.Logf("%d rules applied while somebody wrote and flushed %d times", applies, rounds)
	u.install(t, h, variants[0])
	u.agrees(t, h, variants[0])
}
