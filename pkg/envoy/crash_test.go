//go:build linux

package envoy_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/pkg/envoy"
)

func TestCrashLoop(t *testing.T) {
	r := run(t, fakeEnvoy(t, "echo '7.250 critical main bad luck'; echo >>lives; exit 3"), nil)
	within(t, time.Minute, func() error {
		if s := r.Status(); s.Restarts < 4 || s.LastExit != "exit status 3" {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	r.stop(t)
	if err := r.ended(t); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if s := r.Status(); s.PID != 0 {
		t.Errorf("status %+v", s)
	}
	for _, want := range []string{"in=100ms", "in=200ms", "in=400ms", "in=800ms", `msg="bad luck" component=envoy/main`} {
		if !strings.Contains(r.log.String(), want) {
			t.Errorf("log lacks %s", want)
		}
	}
}

// A binary that vanishes (an upgrade in progress) is waited for.
func TestBinaryVanishes(t *testing.T) {
	binary := fakeEnvoy(t, "rm -f \"$0\"; exit 1")
	r := run(t, binary, nil)
	within(t, time.Minute, func() error {
		if s := r.Status(); !strings.Contains(s.LastExit, "no such file") {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	body, err := os.ReadFile(fakeEnvoy(t, "exec sleep 1000"))
	if err != nil {
		t.Fatal(err)
	}
	next := binary + ".new"
	if err := os.WriteFile(next, body, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, binary); err != nil {
		t.Fatal(err)
	}
	within(t, time.Minute, func() error {
		if s := r.Status(); s.PID == 0 {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
}

func TestEnvoyThatDoesNotEndIsKilled(t *testing.T) {
	r := run(t, fakeEnvoy(t, "trap '' TERM; touch up; exec sleep 1000"), nil)
	within(t, time.Minute, func() error {
		if s := r.Status(); s.PID == 0 {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	pid := r.Status().PID
	within(t, time.Minute, func() error {
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err == nil && string(comm) != "sleep\n" {
			return fmt.Errorf("it is %q", comm)
		}
		return err
	})
	r.stop(t)
	if err := r.ended(t); err != nil {
		t.Error(err)
	}
	if err := gone(pid); err != nil {
		t.Error(err)
	}
	if s := r.Status(); s.LastExit != "signal: killed" {
		t.Errorf("status %+v", s)
	}
}

func TestRunFailsWhereEnvoyCannotRun(t *testing.T) {
	r := run(t, "/no/envoy", nil)
	if err := r.ended(t); !errors.Is(err, envoy.ErrBinary) {
		t.Errorf("Run = %v, want ErrBinary", err)
	}
	r = run(t, envoytest.Binary(t), func(c *envoy.Config) { c.Bootstrap = nil })
	if err := r.ended(t); err == nil || !strings.Contains(err.Error(), "no bootstrap") {
		t.Errorf("Run = %v, want that the bootstrap is missing", err)
	}
}
