package envoy_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/windows"

	"github.com/weft-mesh/weft/pkg/envoy"
)

// patience is how long anything here may take.
const patience = time.Minute

// TestMain is also a program that says that it is Envoy, and then only lives:
// there is no Envoy for Windows to be had.
func TestMain(m *testing.M) {
	if dir := os.Getenv("WEFT_TEST_RUN_ENVOY"); dir != "" {
		beAgent(dir)
	}
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

// An agent that is killed takes its Envoy along: the next one's would find the
// ports taken.
func TestEnvoyEndsWithItsAgent(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	agent := exec.CommandContext(t.Context(), self)
	agent.Env = append(os.Environ(), "WEFT_TEST_ENVOY=1", "WEFT_TEST_RUN_ENVOY="+t.TempDir())
	out, err := agent.StdoutPipe()
	if err == nil {
		err = agent.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = agent.Wait() }() // it is killed
	defer func() { _ = agent.Process.Kill() }()
	var pid uint32
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	child, err := windows.OpenProcess(windows.SYNCHRONIZE, false, pid)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = windows.CloseHandle(child) }()
	if now, err := windows.WaitForSingleObject(child, 0); now != uint32(windows.WAIT_TIMEOUT) {
		t.Fatalf("Envoy does not run: %d, %v", now, err)
	}
	if err := agent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if then, err := windows.WaitForSingleObject(child, uint32(patience.Milliseconds())); then != windows.WAIT_OBJECT_0 {
		t.Errorf("Envoy goes on: %d, %v", then, err)
	}
}

// beAgent runs an Envoy, tells its number and stays.
func beAgent(dir string) {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	if err := os.Unsetenv("WEFT_TEST_RUN_ENVOY"); err != nil {
		panic(err)
	}
	p := envoy.New(envoy.Config{
		Binary: self, Dir: filepath.Join(dir, "work"), AdminSocket: filepath.Join(dir, "admin.sock"), Concurrency: 1, DrainTime: -1,
		Bootstrap: envoy.Fixed([]byte("{}")), Log: slog.New(slog.DiscardHandler),
	})
	go func() {
		for p.Status().PID == 0 {
			<-time.After(10 * time.Millisecond)
		}
		fmt.Println(p.Status().PID) //nolint:forbidigo // to the test
	}()
	if err := p.Run(context.Background()); err != nil {
		panic(err)
	}
	os.Exit(0)
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
