//go:build linux

package accesslog

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	logsv1 "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/internal/testtime"
)

const patience = time.Minute

// A rig is a running server with a client in Envoy's place.
type rig struct {
	*Server
	conn *grpc.ClientConn
	stop func()
}

func newRig(t *testing.T) *rig {
	t.Helper()
	socket := filepath.Join(envoytest.Dir(t), "logs.sock")
	r := &rig{Server: New(Config{
		Socket: socket,
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		},
		Log: quiet(),
	})}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(r.stop)
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	r.conn = conn
	return r
}

func (r *rig) send(t *testing.T, body []byte) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var answer []byte
	return r.conn.Invoke(ctx, "/opentelemetry.proto.collector.logs.v1.LogsService/Export", body, &answer,
		grpc.ForceCodecV2(rawCodec{}), grpc.WaitForReady(true))
}

func (r *rig) log(t *testing.T, sink string, lines ...string) {
	t.Helper()
	if err := r.send(t, request(t, batch(sink, lines...))); err != nil {
		t.Fatalf("log to %s: %v", sink, err)
	}
}

// eventually waits for the server to get somewhere on its own.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !is(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited %s until %s", patience, what)
		}
	}
}

func content(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

func TestFile(t *testing.T) {
	r := newRig(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "access.log")
	if err := os.WriteFile(path, []byte("before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.log(t, "file:"+path, "one", "two\nof two")
	eventually(t, "lines are appended", func() bool { return content(path) == "before\none\ntwo\nof two\n" })

	// Whoever rotates it tells nobody.
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	n := 0
	eventually(t, "a file of the name is there again", func() bool {
		n++
		r.log(t, "file:"+path, "after")
		return content(path) != ""
	})
	eventually(t, "every line is in one of them", func() bool {
		return strings.Count(content(path)+content(path+".1"), "after\n") == n
	})

	// A folder that comes late loses nothing.
	late := filepath.Join(dir, "late", "access.log")
	r.log(t, "file:"+late, "patient")
	eventually(t, "the fault is told", func() bool {
		return slices.ContainsFunc(r.Status(), func(s Status) bool { return s.Sink == "file:"+late && strings.Contains(s.Error, "no such file") })
	})
	if err := os.Mkdir(filepath.Dir(late), 0o700); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the line is there", func() bool { return content(late) == "patient\n" })
	info, err := os.Stat(late)
	if err != nil || info.Mode().Perm()&0o007 != 0 {
		t.Errorf("mode %v (%v): others can read who calls whom", info.Mode(), err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(r.Server)
	families, err := registry.Gather()
	if err != nil || len(families) != 4 {
		t.Errorf("%d families of metrics, want 4: %v", len(families), err)
	}
}

// A pipe that nobody reads holds up its own lines and nothing else.
func TestPipeThatNobodyReads(t *testing.T) {
	r := newRig(t)
	dir := t.TempDir()
	pipe, path := filepath.Join(dir, "pipe"), filepath.Join(dir, "file")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(pipe, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	big := strings.Repeat("x", 1<<20) // a pipe takes 64 KiB
	for range 8 {
		r.log(t, "file:"+pipe, big)
		r.log(t, "file:"+path, "small")
	}
	eventually(t, "the others are written", func() bool { return strings.Count(content(path), "small\n") == 8 })
	for _, s := range r.Status() {
		if s.Sink == "file:"+pipe && (s.Dropped < 3 || s.Queued > maxQueue) {
			t.Errorf("status %+v, want at least 3 of 8 MiB dropped and no more than 4 MiB held", s)
		}
	}
	watch := testtime.Start(t)
	r.stop()
	if took := watch.Took(); took > 2*lastWords {
		t.Errorf("took %s to stop", took)
	}
}

// A peer is a collector that can be away.
type peer struct {
	net.Listener
	lines chan string
	conns chan net.Conn
}

func listenAt(t *testing.T, address string) *peer {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{Listener: l, lines: make(chan string, 100), conns: make(chan net.Conn, 100)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.conns <- c
			go func() {
				for in := bufio.NewScanner(c); in.Scan(); {
					p.lines <- in.Text()
				}
			}()
		}
	}()
	t.Cleanup(func() { _ = l.Close() })
	return p
}

// leave closes everything, as the kernel does for a program that is gone.
func (p *peer) leave(t *testing.T) {
	t.Helper()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	for {
		select {
		case c := <-p.conns:
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		default:
			return
		}
	}
}

func (p *peer) wants(t *testing.T, lines ...string) {
	t.Helper()
	for _, want := range lines {
		select {
		case got := <-p.lines:
			if got != want {
				t.Fatalf("the collector got %q, want %q", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("the collector did not get %q within %s", want, patience)
		}
	}
}

func TestCollectorGoesAndComesBack(t *testing.T) {
	r := newRig(t)
	p := listenAt(t, "127.0.0.1:0")
	sink := "tcp:" + p.Addr().String()
	r.log(t, sink, "one", "two")
	p.wants(t, "one", "two")

	p.leave(t)
	r.log(t, sink, "three")
	eventually(t, "the fault is told", func() bool { return r.Status()[0].Error != "" })
	r.log(t, sink, "four")
	p = listenAt(t, strings.TrimPrefix(sink, "tcp:"))
	p.wants(t, "three", "four")
	if s := r.Status()[0]; s.Dropped != 0 {
		t.Errorf("status %+v, want nothing dropped", s)
	}

	// What is queued when the agent stops is written first.
	r.log(t, sink, "last")
	r.stop()
	p.wants(t, "last")
}

func TestNonsenseIsRefused(t *testing.T) {
	r := newRig(t)
	if err := r.send(t, []byte("nonsense")); status.Code(err) != codes.InvalidArgument {
		t.Errorf("nonsense: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var answer []byte
	err := r.conn.Invoke(ctx, "/opentelemetry.proto.collector.trace.v1.TraceService/Export", []byte{}, &answer, grpc.ForceCodecV2(rawCodec{}))
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("another service: %v", err)
	}
	if err := r.send(t, request(t, &logsv1.ResourceLogs{})); err != nil {
		t.Errorf("an empty batch: %v", err)
	}
	if n := len(r.Status()); n != 0 {
		t.Errorf("%d sinks", n)
	}
}

func TestSocketIsOurs(t *testing.T) {
	r := newRig(t)
	r.log(t, "file:"+filepath.Join(t.TempDir(), "x"), "x") // it runs
	info, err := os.Stat(r.cfg.Socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket has mode %v (%v)", info.Mode(), err)
	}
	s := New(Config{Socket: filepath.Join(t.TempDir(), "none", "logs.sock"), Log: quiet()})
	if err := s.Run(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}
