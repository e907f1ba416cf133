//go:build linux

package envoy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/pkg/envoy"
)

// running is a Process under test.
type running struct {
	*envoy.Process
	cfg     envoy.Config
	admin   *envoy.Admin
	log     *syncBuffer
	release context.CancelFunc // Envoy goes on
	done    chan error
}

// run runs binary with what change makes of the ordinary config.
func run(t *testing.T, binary string, change func(*envoy.Config)) *running {
	t.Helper()
	dir := envoytest.Dir(t)
	cfg := envoy.Config{
		Binary: binary, Dir: filepath.Join(dir, "work"),
		AdminSocket: filepath.Join(dir, "admin.sock"), Concurrency: 1,
		DrainTime: -1,
	}
	cfg.Bootstrap = envoy.Fixed(document(t, cfg, nil))
	if change != nil {
		change(&cfg)
	}
	return runAs(t, cfg)
}

// runAs runs what cfg says; nothing of it is left after the test.
func runAs(t *testing.T, cfg envoy.Config) *running {
	t.Helper()
	log := &syncBuffer{}
	cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Process: envoy.New(cfg), cfg: cfg, admin: envoy.NewAdmin(cfg.AdminSocket), log: log, release: cancel, done: make(chan error, 1)}
	go func() { r.done <- r.Run(ctx) }()
	t.Cleanup(func() {
		r.stop(t)
		cancel()
		if err := <-r.done; err != nil {
			t.Logf("Run: %v", err)
		}
		end := envoy.New(cfg) // where another than this Run has it, or nobody
		stopping, over := context.WithTimeout(context.Background(), time.Minute)
		defer over()
		if err := end.Stop(stopping); err != nil {
			t.Error(err)
		}
		id := fnv.New32a()
		_, _ = id.Write([]byte(cfg.Dir))
		if _, err := os.Stat(fmt.Sprintf("/dev/shm/envoy_shared_memory_%d", 10*uint64(id.Sum32()%400_000_000))); err == nil {
			t.Error("the memory that its Envoys shared is left")
		}
		if t.Failed() {
			t.Logf("log:\n%s", log)
		}
	})
	return r
}

// stop ends Envoy with the Process.
func (r *running) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := r.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// ended waits for Run to end and returns its error.
func (r *running) ended(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.done:
		r.done <- err // for the clean-up
		return err
	case <-time.After(time.Minute):
		t.Fatal("Run did not end")
		return nil
	}
}

// ready waits until Envoy serves, and returns its status.
func (r *running) ready(t *testing.T) envoy.Status {
	t.Helper()
	within(t, time.Minute, func() error {
		if s := r.Status(); s.PID == 0 {
			return fmt.Errorf("status %+v", s)
		}
		return r.admin.Ready(t.Context())
	})
	return r.Status()
}

// document is a bootstrap for cfg.
func document(t *testing.T, cfg envoy.Config, static map[string]any) []byte {
	t.Helper()
	text, err := json.Marshal(map[string]any{
		"admin":            map[string]any{"address": map[string]any{"pipe": map[string]any{"path": cfg.AdminSocket, "mode": 0o600}}},
		"static_resources": static,
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// another is a bootstrap that says the same in other bytes.
func another(b envoy.Bootstrap) envoy.Bootstrap {
	return func(l envoy.Limits) ([]byte, error) {
		text, err := b(l)
		return append(text, '\n'), err
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
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err == nil && !strings.Contains(string(stat), ") Z ") { // else it ended, and init is slow to notice
		return fmt.Errorf("pid %d is there: %s", pid, stat)
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
