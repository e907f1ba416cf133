package envoy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/pkg/envoy"
)

// running is a Process under test.
type running struct {
	*envoy.Process
	admin *envoy.Admin
	log   *syncBuffer
	stop  context.CancelFunc
	done  chan error
}

// run runs binary with what change makes of the ordinary config.
func run(t *testing.T, binary string, change func(*envoy.Config)) *running {
	t.Helper()
	dir := envoytest.Dir(t)
	log := &syncBuffer{}
	cfg := envoy.Config{
		Binary: binary, Bootstrap: filepath.Join(dir, "bootstrap.json"), Dir: filepath.Join(dir, "work"),
		AdminSocket: filepath.Join(dir, "admin.sock"), Concurrency: 1,
		DrainTime: -1, Log: slog.New(slog.NewTextHandler(log, nil)),
	}
	writeBootstrap(t, dir, nil)
	if change != nil {
		change(&cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Process: envoy.New(cfg), admin: envoy.NewAdmin(cfg.AdminSocket), log: log, stop: cancel, done: make(chan error, 1)}
	go func() { r.done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-r.done; err != nil {
			t.Logf("Run: %v", err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", log)
		}
	})
	return r
}

// ended waits for Run to end and returns its error.
func (r *running) ended(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.done:
		r.done <- err // for the clean-up
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("Run did not end")
		return nil
	}
}

func writeBootstrap(t *testing.T, dir string, static map[string]any) {
	t.Helper()
	text, err := json.Marshal(map[string]any{
		"admin":            map[string]any{"address": map[string]any{"pipe": map[string]any{"path": filepath.Join(dir, "admin.sock"), "mode": 0o600}}},
		"static_resources": static,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bootstrap.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// within waits until check holds, and fails the test when it still does not
// after d.
func within(t *testing.T, d time.Duration, check func() error) {
	t.Helper()
	deadline := time.After(d)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after %s still: %v", d, err)
		}
	}
}

func gone(pid int) error {
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("pid %d is there, and signal 0 to it gives: %w", pid, err)
	}
	return nil
}

// fakeEnvoy is a script that tells a version, and otherwise does what body says.
func fakeEnvoy(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "envoy")
	script := "#!/bin/sh\n[ \"$1\" = --version ] && { echo 'envoy  version: 9e55809/1.40.0/Clean/RELEASE/BoringSSL'; exit; }\n" + body + "\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// syncBuffer is a bytes.Buffer for many goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
