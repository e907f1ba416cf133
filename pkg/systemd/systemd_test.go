package systemd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// supervisor is systemd's side of the socket.
func supervisor(t *testing.T) <-chan string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	told := make(chan string, 100)
	go func() {
		defer close(told)
		for buf := make([]byte, 100); ; {
			n, err := l.Read(buf)
			if err != nil {
				return
			}
			told <- string(buf[:n])
		}
	}()
	return told
}

func next(t *testing.T, told <-chan string) string {
	t.Helper()
	select {
	case s := <-told:
		return s
	case <-time.After(time.Minute):
		t.Fatal("systemd was told nothing for a minute")
		return ""
	}
}

func TestService(t *testing.T) {
	told := supervisor(t)
	t.Setenv("WATCHDOG_USEC", "60000")
	t.Setenv("WATCHDOG_PID", "")
	var ill atomic.Bool
	asked := make(chan struct{}, 1)
	ready := make(chan struct{})
	s := Service{Ready: ready, Log: slog.New(slog.DiscardHandler), Alive: func(context.Context) error {
		if ill.Load() {
			select {
			case asked <- struct{}{}:
			default:
			}
			return errors.New("stuck")
		}
		return nil
	}}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	select {
	case said := <-told:
		t.Fatalf("said %q before the service was ready", said)
	case <-time.After(50 * time.Millisecond):
	}
	close(ready)
	for _, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1"} {
		if got := next(t, told); got != want {
			t.Fatalf("said %q, want %q", got, want)
		}
	}
	ill.Store(true)
	<-asked
	<-asked // what was said before this one was said while well
	for len(told) > 0 {
		<-told
	}
	<-asked
	stop()
	if got := next(t, told); got != "STOPPING=1" {
		t.Errorf("said %q while not well, want nothing until STOPPING=1", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestServiceWithoutSystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	ready := make(chan struct{})
	close(ready)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := (Service{Ready: ready, Log: slog.New(slog.DiscardHandler)}).Run(ctx); err != nil {
		t.Error(err)
	}
}
