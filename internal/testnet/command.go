//go:build linux

package testnet

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/vishvananda/netns"
)

// UseResolver makes programs that this host runs from now on see text as their
// /etc/resolv.conf.
func (h *Host) UseResolver(t testing.TB, text string) {
	t.Helper()
	h.resolv = filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(h.resolv, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Command prepares a program for this host. Start it with Start or Run, never
// with its own methods: those start it in the test's namespace. It is killed
// with ctx and with the test's process.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if h.resolv != "" {
		const script = `mount --bind "$0" /etc/resolv.conf && exec "$@"`
		args = append([]string{"-c", script, h.resolv, name}, args...)
		name = "sh"
		attr.Unshareflags = syscall.CLONE_NEWNS // the mount is seen by the program alone
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = attr
	return cmd
}

// starter hands what it is sent to a thread that lives as long as this process.
// The kernel kills programs with the thread that started them, and threads of
// the runtime end with goroutines that do not unlock them.
var starter = sync.OnceValue(func() chan<- func() {
	starts := make(chan func())
	go func() {
		runtime.LockOSThread()
		for start := range starts {
			start()
		}
	}()
	return starts
})

// Start starts a prepared program on the host.
func (h *Host) Start(cmd *exec.Cmd) error {
	started := make(chan error, 1)
	starter() <- func() {
		err := netns.Set(h.space.ns)
		if err != nil {
			err = fmt.Errorf("enter network namespace: %w", err)
		} else {
			err = cmd.Start()
		}
		started <- err
	}
	return <-started
}

// Run runs a program on the host to its end, within the test's life, and
// returns what it wrote. Anything but exit code 0 fails the test.
func (h *Host) Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := h.TryRun(t, name, args...)
	if err != nil {
		t.Fatalf("host %s: %s %q: %v\n%s", h.Name, name, args, err, out)
	}
	return out
}

// TryRun runs a program on the host to its end and returns what it wrote.
func (h *Host) TryRun(t testing.TB, name string, args ...string) (string, error) {
	t.Helper()
	return h.output(h.Command(t.Context(), name, args...))
}

// Pipe runs a program with the given input, as Run does.
func (h *Host) Pipe(t testing.TB, input, name string, args ...string) string {
	t.Helper()
	cmd := h.Command(t.Context(), name, args...)
	cmd.Stdin = bytes.NewBufferString(input)
	out, err := h.output(cmd)
	if err != nil {
		t.Fatalf("host %s: %s %q: %v\n%s", h.Name, name, args, err, out)
	}
	return out
}

func (h *Host) output(cmd *exec.Cmd) (string, error) {
	var out, said bytes.Buffer // apart, so that a warning never stands in the middle of a line
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := h.Start(cmd); err != nil {
		return "", err
	}
	err := cmd.Wait()
	return out.String() + said.String(), err
}
