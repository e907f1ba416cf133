//go:build linux

package testnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
)

func TestHostsTalkInBothFamilies(t *testing.T) {
	hosts := Hosts(t, 2)
	a, b := hosts[0], hosts[1]
	for _, ip := range []netip.Addr{b.IP4, b.IP6} {
		addr := netip.AddrPortFrom(ip, 8080)
		b.Listen(t, addr.String()).Serve(func(c *Conn) string { return "hello " + c.Remote().Addr().String() })
		got, err := io.ReadAll(a.Dial(t, "tcp", addr.String()))
		want := "hello " + a.IP4.String()
		if ip.Is6() {
			want = "hello " + a.IP6.String()
		}
		if err != nil || string(got) != want {
			t.Errorf("a heard %q, %v from %s, want %q", got, err, addr, want)
		}
	}
}

func TestNetsDoNotMeet(t *testing.T) {
	a, b := Hosts(t, 1)[0], Hosts(t, 1)[0]
	if a.IP4 != b.IP4 {
		t.Fatalf("addresses %s and %s, want the same in every segment", a.IP4, b.IP4)
	}
	a.Listen(t, netip.AddrPortFrom(a.IP4, 80).String())
	if _, err := b.TryDial("tcp", netip.AddrPortFrom(a.IP4, 80).String()); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("a host of another segment answered: %v", err)
	}
}

func TestDoComesBack(t *testing.T) {
	h := Hosts(t, 1)[0]
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	leave := map[string]func(){
		"return": func() { _ = h.Do(func() error { return errors.New("told") }) },
		"panic": func() {
			defer func() { _ = recover() }()
			_ = h.Do(func() error { panic("in the namespace") })
		},
	}
	for name, f := range leave {
		t.Run(name, func(t *testing.T) {
			f()
			now, err := netns.Get()
			if err != nil {
				t.Fatal(err)
			}
			defer now.Close()
			if !now.Equal(home) {
				t.Error("the goroutine stayed in the namespace")
			}
		})
	}
	if err := h.Do(func() error { return io.EOF }); !errors.Is(err, io.EOF) {
		t.Errorf("Do gave %v, want what its function gave", err)
	}
}

func TestNamespacesEndWithTheirTest(t *testing.T) {
	var path string
	t.Run("inner", func(t *testing.T) {
		path = Hosts(t, 1)[0].Path()
		if link, err := os.Readlink(path); err != nil || !strings.HasPrefix(link, "net:") {
			t.Fatalf("%s is %q, %v", path, link, err)
		}
	})
	if link, _ := os.Readlink(path); strings.HasPrefix(link, "net:") {
		t.Errorf("the namespace is still open at %s", path)
	}
}

func TestSocketOptions(t *testing.T) {
	h := Hosts(t, 1)[0]
	l := h.Listen(t, "127.0.0.1:8080")
	c := h.Dial(t, "tcp", "127.0.0.1:8080", Mark(0x1000), From(netip.MustParseAddrPort("127.0.0.9:40000")), UID(4321))
	if got := l.Accept(t).Remote(); got != netip.MustParseAddrPort("127.0.0.9:40000") {
		t.Errorf("called from %s, want 127.0.0.9:40000", got)
	}
	raw, err := c.Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		if mark, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK); err != nil || mark != 0x1000 {
			t.Errorf("SO_MARK is %#x, %v, want 0x1000", mark, err)
		}
		var stat unix.Stat_t
		if err := unix.Fstat(int(fd), &stat); err != nil || stat.Uid != 4321 {
			t.Errorf("the socket is user %d's, %v, want 4321's", stat.Uid, err)
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func TestProgramsRunOnTheHost(t *testing.T) {
	h := Hosts(t, 1)[0]
	if out := h.Run(t, "ip", "-o", "addr"); !strings.Contains(out, h.IP4.String()) {
		t.Errorf("a program on the host saw\n%s, want %s in it", out, h.IP4)
	}
	if out := h.Pipe(t, "through", "cat"); out != "through" {
		t.Errorf("cat gave %q", out)
	}
	if _, err := h.TryRun(t, "false"); err == nil {
		t.Error("false succeeded")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := h.Command(ctx, "sleep", "600")
	if err := h.Start(cmd); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := cmd.Wait(); err == nil {
		t.Error("a program outlived its context")
	}
}

func TestProgramsSeeTheResolver(t *testing.T) {
	h := Hosts(t, 1)[0]
	before, _ := os.ReadFile("/etc/resolv.conf")
	h.UseResolver(t, "nameserver 192.0.2.53\n")
	if out := h.Run(t, "cat", "/etc/resolv.conf"); out != "nameserver 192.0.2.53\n" {
		t.Errorf("the program saw %q", out)
	}
	if after, _ := os.ReadFile("/etc/resolv.conf"); !bytes.Equal(before, after) {
		t.Error("the machine's own resolv.conf changed")
	}
}

func TestSkipsProveThemselves(t *testing.T) {
	lacking := fmt.Errorf("apply: %w", redirect.ErrNotSupported)
	for _, c := range []struct {
		err    error
		kernel [2]int
		skips  bool
	}{
		{lacking, [2]int{4, 19}, true},
		{lacking, [2]int{5, 9}, true},
		{lacking, [2]int{5, 10}, false},
		{lacking, [2]int{6, 1}, false},
		{redirect.ErrNotPermitted, [2]int{4, 19}, false},
	} {
		if got := skipReason(c.err, c.kernel) != ""; got != c.skips {
			t.Errorf("%v on Linux %v: skips %t, want %t", c.err, c.kernel, got, c.skips)
		}
	}
	if v, err := kernelVersion(); err != nil || v[0] < 3 {
		t.Errorf("this kernel is %v, %v", v, err)
	}
}

// deserted makes the test's child lay out a segment, start a program on it and
// wait to be killed.
const deserted = "WEFT_TEST_DESERTED"

// Killed at once, a test leaves neither program nor namespace behind.
func TestKilledTestsLeaveNothing(t *testing.T) {
	if _, ok := os.LookupEnv(deserted); ok {
		h := Hosts(t, 1)[0]
		cmd := h.Command(t.Context(), "sleep", "600")
		if err := h.Start(cmd); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(os.Stdout, "started %d\n", cmd.Process.Pid)
		_ = cmd.Wait()
		return
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledTestsLeaveNothing$")
	child.Env = append(os.Environ(), deserted+"=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscanf(out, "started %d\n", &pid); err != nil {
		t.Fatalf("the child did not start: %v", err)
	}
	program, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(program)
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	ended := []unix.PollFd{{Fd: int32(program), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(ended, int(Patience.Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			t.Errorf("the program outlived the killed test (%v)", err)
			_ = unix.PidfdSendSignal(program, unix.SIGKILL, nil, 0)
		}
		break
	}
}

// Threads of the runtime end with goroutines that keep them locked: programs do
// not end with those.
func TestProgramsOutliveThreads(t *testing.T) {
	h := Hosts(t, 1)[0]
	cmd := h.Command(t.Context(), "cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(cmd); err != nil {
		t.Fatal(err)
	}
	const threads = 64 // more than the runtime keeps idle here
	var locked, ended sync.WaitGroup
	locked.Add(threads)
	for range threads {
		ended.Go(func() {
			runtime.LockOSThread() // for good
			locked.Done()
			locked.Wait()
		})
	}
	ended.Wait()
	if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
		t.Errorf("the program ended with %v", err)
	}
}
