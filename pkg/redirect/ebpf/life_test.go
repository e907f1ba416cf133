//go:build linux

package ebpf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// placeOf is the place of a host's default table.
func placeOf(t *testing.T, h *testnet.Host) place {
	t.Helper()
	p := place{bpffs: defaultPins, table: redirect.DefaultTable}
	if err := h.Do(func() (err error) {
		p.netns, _, err = namespace()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return p
}

// existing are our programs, links and maps in the kernel, by name and number.
func existing(t *testing.T) map[string]bool {
	t.Helper()
	out := make(map[string]bool)
	for id := ebpf.ProgramID(0); ; {
		next, err := ebpf.ProgramGetNextID(id)
		if err != nil {
			break
		}
		id = next
		if p, err := ebpf.NewProgramFromID(id); err == nil {
			if i, err := p.Info(); err == nil && strings.HasPrefix(i.Name, "weft_") {
				out[fmt.Sprintf("program %s %d", i.Name, id)] = true
			}
			_ = p.Close()
		}
	}
	for id := ebpf.MapID(0); ; {
		next, err := ebpf.MapGetNextID(id)
		if err != nil {
			break
		}
		id = next
		if m, err := ebpf.NewMapFromID(id); err == nil {
			if i, err := m.Info(); err == nil && (i.Name == "flows" || i.Name == "networks" || i.Name == "config") {
				out[fmt.Sprintf("map %s %d", i.Name, id)] = true
			}
			_ = m.Close()
		}
	}
	it := new(link.Iterator)
	defer it.Close()
	for it.Next() {
		if i, err := it.Link.Info(); err == nil && (i.Cgroup() != nil || i.NetNs() != nil) {
			out[fmt.Sprintf("link %d", i.ID)] = true
		}
	}
	return out
}

// goneAgain waits until the kernel has nothing that it did not have before: it
// frees on its own time.
func goneAgain(t *testing.T, before map[string]bool) {
	t.Helper()
	eventually(t, func() error {
		for what := range existing(t) {
			if !before[what] {
				return fmt.Errorf("%s is left", what)
			}
		}
		return nil
	})
}

func eventually(t *testing.T, f func() error) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(testnet.Patience); ; <-tick.C {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// Nothing is left after Remove: no program, link, map, pin or folder, also of a
// version that had other programs, maps and links.
func TestNothingIsLeft(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, h *testnet.Host, p place){
		"this version": func(*testing.T, *testnet.Host, place) {},
		"rules again":  func(t *testing.T, h *testnet.Host, _ place) { install(t, h, testRules()) },
		"a newer version": func(t *testing.T, _ *testnet.Host, p place) {
			for from, to := range map[string]string{"links/connect4": "links/connect_all", "maps/current": "maps/rules", "maps/flows": "maps/flows2"} {
				if err := os.Rename(filepath.Join(p.dir(), from), filepath.Join(p.dir(), to)); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Mkdir(filepath.Join(p.dir(), "more"), 0o700); err != nil {
				t.Fatal(err)
			}
		},
		"half put in place": func(t *testing.T, _ *testnet.Host, p place) {
			if err := os.Rename(p.dir(), p.dir()+before); err != nil {
				t.Fatal(err)
			}
		},
		"half built": func(t *testing.T, _ *testnet.Host, p place) {
			if err := os.Rename(p.dir(), p.dir()+aside); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			host, peer := play(t)
			before := existing(t)
			install(t, host, everything())
			change(t, host, placeOf(t, host))
			uninstall(t, host)
			p := placeOf(t, host)
			left, err := os.ReadDir(p.root()) // others of this machine may have theirs in it
			if err == nil && len(left) == 0 || slices.ContainsFunc(left, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), p.name()) }) {
				t.Errorf("our folder is left, with %v", left)
			}
			for _, to := range on80(peer) {
				if got := call(host, to); got != "direct" {
					t.Errorf("%s was answered by %q", to, got)
				}
			}
			goneAgain(t, before)
			uninstall(t, host) // a clean host stays clean
		})
	}
}

// A refused Apply leaves nothing either.
func TestRefusedLeavesNothing(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	before := existing(t)
	for name, refuse := range map[string]func(r *redirect.Rules) *Engine{
		"no such cgroup": func(*redirect.Rules) *Engine { return New(WithCgroup("weft-is-not-there")) },
		"no such bpffs":  func(*redirect.Rules) *Engine { return New(WithCgroup(ownCgroup()), WithPins("/sys/fs/is-not-there")) },
		"rewrite":        func(r *redirect.Rules) *Engine { r.Inbound.Method = redirect.Rewrite; return engine() },
		"forwarded":      func(r *redirect.Rules) *Engine { r.Outbound.Forwarded = []string{"docker0"}; return engine() },
		"interfaces":     func(r *redirect.Rules) *Engine { r.Outbound.ExcludeInterfaces = []string{"tun*"}; return engine() },
	} {
		t.Run(name, func(t *testing.T) {
			r := everything()
			e := refuse(&r)
			err := h.Do(func() error { return e.Apply(t.Context(), r) })
			if err == nil {
				t.Fatal("applied")
			}
			if name != "no such cgroup" && (!errors.Is(err, redirect.ErrNotSupported) || !strings.Contains(err.Error(), instead)) {
				t.Errorf("%v, want %v and what to do instead", err, redirect.ErrNotSupported)
			}
			if probe := h.Do(func() error { return e.Probe(t.Context(), r) }); name != "no such cgroup" && !errors.Is(probe, redirect.ErrNotSupported) {
				t.Errorf("Probe said %v", probe)
			}
			goneAgain(t, before)
		})
	}
}

// A bpf file system that is not mounted is, and is unmounted by Remove; one
// that cannot be written is refused.
func TestFileSystem(t *testing.T) {
	host, peer := play(t)
	at := t.TempDir()
	e := New(WithCgroup(ownCgroup()), WithPins(at))
	p := place{bpffs: at}
	if err := host.Do(func() error { return e.Apply(t.Context(), everything()) }); err != nil {
		t.Fatal(err)
	}
	if m, ok, err := p.mounted(); err != nil || !ok || !m.ours {
		t.Errorf("mounted: %+v, %t, %v", m, ok, err)
	}
	wantOutbound(t, call(host, on80(peer)[0]), on80(peer)[0])
	if err := host.Do(func() error { return e.Remove(t.Context(), "") }); err != nil {
		t.Fatal(err)
	}
	if m, ok, err := p.mounted(); err != nil || ok {
		t.Errorf("still mounted: %+v, %v", m, err)
	}

	if err := unix.Mount("somebody", at, "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
	if err := host.Do(func() error { return errors.Join(e.Apply(t.Context(), everything()), e.Remove(t.Context(), "")) }); err != nil {
		t.Fatal(err)
	}
	if m, ok, err := p.mounted(); err != nil || !ok || m.ours {
		t.Errorf("somebody's mount is %+v, %t, %v", m, ok, err)
	}
	if err := unix.Mount("", at, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	err := host.Do(func() error { return e.Apply(t.Context(), everything()) })
	if !errors.Is(err, redirect.ErrNotSupported) || !strings.Contains(err.Error(), "remount,rw") {
		t.Errorf("read-only: %v", err)
	}
}

// Programs are exchanged while connections are made, and none of these is told
// the wrong destination or slips by.
func TestExchangeUnderLoad(t *testing.T) {
	host, peer := play(t)
	install(t, host, everything())
	const exchanges, applies, callers, between = 200, 5, 4, 20
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var (
		group sync.WaitGroup
		calls atomic.Int64
	)
	for i := range callers {
		to := on80(peer)[i%2]
		group.Go(func() {
			for ctx.Err() == nil {
				if got := call(host, to); got != "outbound "+to.String() {
					t.Errorf("%s was answered by %q", to, got)
					cancel()
				}
				calls.Add(1)
			}
		})
	}
	more := func() { // lets connections be made
		for until := calls.Load() + between; calls.Load() < until && ctx.Err() == nil; {
			runtime.Gosched()
		}
	}
	began := time.Now()
	p := placeOf(t, host)
	maps, ok, err := openMaps(p.dir())
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	defer maps.close()
	var builds [2]*ebpf.Collection
	for i := range builds {
		if builds[i], err = load(maps); err != nil {
			t.Fatal(err)
		}
		defer builds[i].Close()
	}
	pinned, err := readLinks(p.dir())
	if err != nil || len(pinned) != len(hooks) {
		t.Fatal(pinned, err)
	}
	var links []wanted
	for _, l := range pinned {
		links = append(links, wanted{name: l.name, hook: l.hook})
	}
	for i := range exchanges {
		if err := exchange(p.dir(), builds[i%2], links); err != nil {
			t.Fatal(err)
		}
		more()
	}
	for range applies {
		// Programs of another build are in force, as far as Apply can tell.
		if err := maps["about"].Put(uint32(0), programVersion{Layout: layout, Programs: 1}); err != nil {
			t.Fatal(err)
		}
		if d := check(t, host, everything()); len(d) != 1 || !strings.Contains(d[0].Is, "another version") {
			t.Errorf("with another version the host differs: %v", d)
		}
		install(t, host, everything())
		more()
	}
	took := time.Since(began)
	cancel()
	group.Wait()
	if d := check(t, host, everything()); len(d) > 0 {
		t.Errorf("after all: %v", d)
	}
	t.Logf("%d exchanges of all programs and %d by Apply in %s, %d connections, %.0f a second, all with the right destination",
		exchanges, applies, took.Round(time.Millisecond), calls.Load(), float64(calls.Load())/took.Seconds())
}

// A proxy that starts anew is known at once, and while it is away its ports are
// closed.
func TestProxyStartsAnew(t *testing.T) {
	hosts := testnet.Hosts(t, 2)
	host, peer := hosts[0], hosts[1]
	install(t, host, everything())
	to := on80(peer)
	for range 3 {
		for _, a := range to {
			if _, err := host.TryDial("tcp", a.String()); !errors.Is(err, unix.ECONNREFUSED) {
				t.Errorf("without a proxy %s: %v", a, err)
			}
		}
		listeners := proxyOutbound(t, host)
		for _, a := range to {
			wantOutbound(t, call(host, a), a)
		}
		if d := check(t, host, everything()); len(d) > 0 {
			t.Errorf("the host differs: %v", d)
		}
		for _, l := range listeners {
			_ = l.Close()
		}
	}
}

// A getsockopt of more than programs can see is left whole: iptables' own
// tables are read that way.
func TestLongOptions(t *testing.T) {
	host, _ := play(t)
	var rules strings.Builder
	rules.WriteString("*filter\n")
	for i := range 2000 {
		fmt.Fprintf(&rules, "-A INPUT -s 10.%d.%d.1/32 -p tcp -m comment --comment \"a rule, that its table gets long\" -j ACCEPT\n", i/256, i%256)
	}
	rules.WriteString("COMMIT\n")
	host.Pipe(t, rules.String(), "iptables-legacy-restore")
	before := host.Run(t, "iptables-legacy", "-S")
	if n := strings.Count(before, "-A INPUT"); n != 2000 {
		t.Fatalf("there are %d rules", n)
	}
	install(t, host, everything())
	if after := host.Run(t, "iptables-legacy", "-S"); after != before {
		t.Errorf("with the programs in force iptables reads %d bytes, before %d", len(after), len(before))
	}
	// The same socket, with a buffer far beyond a page, for an option of four bytes.
	s := raw(t, host, host.IP4, unix.SOCK_STREAM)
	b := make([]byte, 64<<10)
	size := uint32(len(b))
	if err := getsockopt(int(s), unix.SOL_SOCKET, unix.SO_TYPE, b, &size); err != nil || size != 4 || b[0] != unix.SOCK_STREAM {
		t.Errorf("SO_TYPE is %v of %d bytes, %v", b[:4], size, err)
	}
	// Nobody's question about an original destination is answered for him.
	size = uint32(len(b))
	if err := getsockopt(int(s), unix.SOL_IP, soOriginalDst, b, &size); err == nil {
		t.Error("a socket that was never accepted has an original destination")
	}
}

// In a mount namespace of one's own a bpf file system would end with it, and all
// that is pinned there: it is not made.
func TestPrivateMounts(t *testing.T) {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
		done <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
				return err
			}
			err := unix.Unmount(defaultPins, 0)
			for err == nil { // the machine may have one beneath that of this program
				err = unix.Unmount(defaultPins, 0)
			}
			if !errors.Is(err, unix.EINVAL) {
				return err
			}
			err = place{bpffs: defaultPins}.writable()
			if !errors.Is(err, redirect.ErrNotSupported) || !strings.Contains(err.Error(), "mount it on the host") {
				return fmt.Errorf("it said: %w", err)
			}
			first, err := mountsOf("1")
			if err != nil || !slices.ContainsFunc(first, func(m mount) bool { return m.at == defaultPins && m.kind == "bpf" }) {
				return err // the host can have pinned nothing
			}
			err = place{bpffs: defaultPins}.visible()
			if err == nil || !strings.Contains(err.Error(), "is not seen from here") {
				return fmt.Errorf("of the host's pins it said: %w", err)
			}
			return nil
		}()
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
