package envoy_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/envoy"
)

// patience is how long anything here may take.
const patience = time.Minute

// TestMain is also a program that says that it is Envoy, and then only lives:
// there is no Envoy for Windows to be had.
func TestMain(m *testing.M) {
	if os.Getenv("WEFT_TEST_ENVOY") == "" {
		os.Exit(m.Run())
	}
	if slices.Contains(os.Args, "--version") {
		fmt.Println("envoy  version: 9e55809/1.40.0/Clean/RELEASE/BoringSSL") //nolint:forbidigo // it is what Envoy prints
		os.Exit(0)
	}
	<-time.After(10 * patience)
	os.Exit(3)
}

// A program of Windows is taken, started with the agent's bootstrap, started
// again when it is killed, and ended at once when it is to stop.
func TestEnvoyOfWindows(t *testing.T) {
	t.Setenv("WEFT_TEST_ENVOY", "1")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := envoy.Check(t.Context(), self); err != nil || got != "1.40.0" {
		t.Fatalf("version %q, %v", got, err)
	}
	text := filepath.Join(t.TempDir(), "envoy.exe")
	if err := os.WriteFile(text, []byte("hello, world, I am an Envoy"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := envoy.Check(t.Context(), text); err == nil || !strings.Contains(err.Error(), "make envoy") {
		t.Errorf("text was taken for a program: %v", err)
	}

	dir := t.TempDir()
	p := envoy.New(envoy.Config{
		Binary: self, Dir: filepath.Join(dir, "work"), AdminSocket: filepath.Join(dir, "admin.sock"), Concurrency: 1, DrainTime: -1,
		Bootstrap: envoy.Fixed([]byte("{}")), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	done := make(chan error, 1)
	go func() { done <- p.Run(t.Context()) }()
	first := started(t, p, 0)
	killed, err := os.FindProcess(first)
	if err == nil {
		err = killed.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
	started(t, p, first)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := p.Stop(ctx); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	if s := p.Status(); s.PID != 0 || s.Restarts != 1 {
		t.Errorf("status %+v, want one restart and nobody", s)
	}
}

// started waits for an Envoy that is not the one before, and returns its number.
func started(t *testing.T, p *envoy.Process, before int) int {
	t.Helper()
	tick, late := time.NewTicker(10*time.Millisecond), time.After(patience)
	defer tick.Stop()
	for {
		if pid := p.Status().PID; pid != 0 && pid != before {
			return pid
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("status %+v", p.Status())
		}
	}
}
