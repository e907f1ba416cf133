//go:build linux

package systemd

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// storeLife says which life of a service this process is, for tests.
const storeLife = "WEFT_TEST_STORE_LIFE"

func TestMain(m *testing.M) {
	switch os.Getenv(storeLife) {
	case "first":
		firstLife()
	case "second":
		secondLife()
	default:
		os.Exit(m.Run())
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stdout, err)
		os.Exit(1)
	}
	return v
}

// firstLife has two sockets held, and replaces one.
func firstLife() {
	s := OpenStore(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	s.Keep("old", must(net.ListenPacket("udp", "127.0.0.1:0")).(*net.UDPConn))
	conn := must(net.ListenPacket("udp", "127.0.0.1:0")).(*net.UDPConn)
	s.Keep("queries", conn)
	fmt.Fprintln(os.Stdout, conn.LocalAddr())
}

// secondLife answers what came between, gives up what is not its own, and shows
// what a program that it starts has of it.
func secondLife() {
	must(0, os.Setenv("LISTEN_PID", fmt.Sprint(os.Getpid()))) // systemd knows it before it starts us
	s := OpenStore(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	s.Retain([]string{"queries"})
	f := s.Take("queries")
	if f == nil || s.Take("old") != nil || s.Take("foreign") != nil {
		fmt.Fprintln(os.Stdout, "took", f, s.held)
		os.Exit(1)
	}
	conn := must(net.FilePacketConn(f))
	b := make([]byte, 10)
	n, from, err := conn.ReadFrom(b)
	must(0, err)
	must(conn.WriteTo([]byte("answer to "+string(b[:n])), from))
	child := exec.Command("sh", "-c", "ls -l /proc/self/fd; env")
	child.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, storeLife) })
	fmt.Fprint(os.Stdout, string(must(child.Output())))
}

// received are what systemd is told, with the files that come with it.
type received struct {
	lines []string
	file  *os.File
}

// keeper is systemd's side of a store.
func keeper(t *testing.T) (path string, next func() received) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return path, func() received {
		t.Helper()
		_ = l.SetReadDeadline(time.Now().Add(time.Minute))
		text, rights := make([]byte, 500), make([]byte, 100)
		n, oob, _, _, err := l.ReadMsgUnix(text, rights)
		if err != nil {
			t.Fatal(err)
		}
		r := received{lines: strings.Split(string(text[:n]), "\n")}
		messages, err := syscall.ParseSocketControlMessage(rights[:oob])
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			fds, err := syscall.ParseUnixRights(&m)
			if err != nil || len(fds) != 1 {
				t.Fatal(fds, err)
			}
			r.file = os.NewFile(uintptr(fds[0]), "held")
			t.Cleanup(func() { _ = r.file.Close() })
		}
		return r
	}
}

func life(t *testing.T, which, notify string, held ...*os.File) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), storeLife+"="+which, "NOTIFY_SOCKET="+notify)
	cmd.ExtraFiles = held
	cmd.Stderr = t.Output()
	return cmd
}

// A service goes and comes again: what was sent to its socket meanwhile is
// answered, what it has no use for is given up, and programs that it starts
// have nothing of it.
func TestStoreOutlivesTheService(t *testing.T) {
	notify, next := keeper(t)
	out, err := life(t, "first", notify).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	at := strings.TrimSpace(string(out))
	old, queries := next(), next()
	for name, r := range map[string]received{"old": old, "queries": queries} {
		if want := []string{"FDSTORE=1", "FDNAME=" + name, "FDPOLL=0"}; !slices.Equal(r.lines, want) || r.file == nil {
			t.Fatalf("systemd was told %q, want %q; file %v", r.lines, want, r.file)
		}
	}
	conn, err := net.Dial("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("query")); err != nil {
		t.Fatal(err)
	}
	foreign, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	cmd := life(t, "second", notify, old.file, queries.file, foreign)
	cmd.Env = append(cmd.Env, "LISTEN_FDS=3", "LISTEN_FDNAMES=old:queries:foreign")
	if out, err = cmd.Output(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	b := make([]byte, 100)
	if n, err := conn.Read(b); err != nil || string(b[:n]) != "answer to query" {
		t.Errorf("answered %q, %v", b[:n], err)
	}
	given := []string{strings.Join(next().lines, " "), strings.Join(next().lines, " ")}
	if slices.Sort(given); !slices.Equal(given, []string{"FDSTOREREMOVE=1 FDNAME=foreign", "FDSTOREREMOVE=1 FDNAME=old"}) {
		t.Errorf("systemd was told %q", given)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "socket:") || strings.HasPrefix(line, "LISTEN_") {
			t.Errorf("a program that the service starts has %q", line)
		}
	}
}

// Without systemd a store holds sockets as long as the program lives, so that a
// part of it may begin anew.
func TestStoreWithoutSystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	s := new(Store)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Keep("a", l.(*net.TCPListener))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal("nobody listens any more:", err)
	}
	_ = conn.Close()
	s.Retain([]string{"b"})
	if f := s.Take("a"); f != nil {
		t.Error("it was not given up")
	}
	if conn, err := net.Dial("tcp", l.Addr().String()); err == nil {
		_ = conn.Close()
		t.Error("somebody listens still")
	}
}
