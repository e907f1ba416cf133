//go:build linux

package envoy_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/pkg/envoy"
)

// put replaces a file in one step.
func put(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path+".new", content, 0o755), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
}

func program(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(envoytest.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestChangesWhileItRuns changes configuration and binary of an Envoy under
// load, while the same agent runs.
func TestChangesWhileItRuns(t *testing.T) {
	workload := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer workload.Close()
	at := freePort(t)
	binary := filepath.Join(envoytest.Dir(t), "envoy")
	good := program(t)
	put(t, binary, good)
	r := run(t, binary, func(c *envoy.Config) {
		c.ChangeTime = time.Second
		c.Bootstrap = envoy.Fixed(document(t, *c, forward(at, workload.Listener.Addr())))
	})
	s := r.ready(t)
	stop, made := calls(t, at.String())
	replaced := func() {
		t.Helper()
		within(t, 30*time.Second, func() error {
			if now := r.Status(); now.PID == s.PID || now.Epoch != s.Epoch+1 {
				return fmt.Errorf("status %+v", now)
			}
			return r.admin.Ready(t.Context())
		})
		s = r.Status()
	}
	next := r.cfg
	next.Concurrency = 2
	r.Change(next)
	replaced()

	// Half a binary replaces nobody; a whole one does.
	put(t, binary, good[:len(good)/2])
	within(t, 30*time.Second, func() error {
		if now := r.Status(); now.PID != s.PID || !strings.Contains(now.Kept, envoy.ErrBinary.Error()) {
			return fmt.Errorf("status %+v", now)
		}
		return nil
	})
	put(t, binary, append(good, 0))
	replaced()

	// One that says the same is no change.
	next.FileLimit = 3000
	r.Change(next)
	within(t, 10*time.Second, func() error {
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", s.PID))
		if err == nil && !strings.Contains(string(limits), "3000 ") {
			return fmt.Errorf("limits\n%s", limits)
		}
		return err
	})
	if now := r.Status(); now.PID != s.PID {
		t.Errorf("status %+v, want still pid %d", now, s.PID)
	}
	if failed := stop(); len(failed) > 0 {
		t.Errorf("%d of %d calls failed: %v", len(failed), made.Load(), failed[:min(3, len(failed))])
	}
	t.Logf("%d calls", made.Load())
}

// nowhere is a bootstrap that Envoy finds good and cannot start from.
func nowhere(t *testing.T, c envoy.Config) envoy.Bootstrap {
	c.AdminSocket = filepath.Join(c.Dir, "nowhere", "admin.sock")
	return envoy.Fixed(document(t, c, nil))
}

// TestFallBack changes binary and bootstrap to such as look well and die: the
// Envoy that runs serves on, and when it dies what worked before is started.
func TestFallBack(t *testing.T) {
	working := envoytest.Binary(t)
	script := []byte("#!/bin/sh\ncase \"$*\" in *--restart-epoch*) exit 3;; esac\nexec " + working + " \"$@\"\n")
	for _, c := range []struct {
		name       string
		bad, mend  func(r *running, binary string)
		lastExit   string
		again      func(*testing.T, envoy.Config) envoy.Bootstrap // the bad one; nil: that of the test
		ownProgram bool                                           // what worked was another program
	}{
		{"binary", func(_ *running, binary string) { put(t, binary, script) }, func(_ *running, binary string) { put(t, binary, append(program(t), 0)) }, "exit status 3", nil, true},
		{"bootstrap", func(r *running, _ string) {
			next := r.cfg
			next.Bootstrap = nowhere(t, next)
			r.Change(next)
		}, func(r *running, _ string) {
			next := r.cfg
			next.Bootstrap = envoy.Fixed(append(document(t, next, nil), '\n'))
			r.Change(next)
		}, "exit status 1", nowhere, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := envoytest.Dir(t)
			binary := filepath.Join(dir, "envoy")
			put(t, binary, program(t))
			r := run(t, binary, func(cfg *envoy.Config) { cfg.Keep = filepath.Join(dir, "last.json") })
			first := r.ready(t)
			c.bad(r, binary)
			within(t, 30*time.Second, func() error {
				if s := r.Status(); s.PID != first.PID || !strings.Contains(s.Kept, "the next one ended with "+c.lastExit) {
					return fmt.Errorf("status %+v", s)
				}
				return nil
			})
			if err := syscall.Kill(first.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			within(t, 30*time.Second, func() error {
				if s := r.Status(); !s.FellBack || s.PID == 0 || s.PID == first.PID || s.LastExit != c.lastExit {
					return fmt.Errorf("status %+v", s)
				}
				return r.admin.Ready(t.Context())
			})
			fallen := r.Status()
			if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", fallen.PID)); err != nil || strings.HasSuffix(exe, "(deleted)") != c.ownProgram {
				t.Errorf("it runs %s, %v", exe, err)
			}
			if !strings.Contains(r.log.String(), "the one that worked before is started in its place") {
				t.Errorf("the log does not tell of it")
			}
			// The next agent does not try it again.
			r.release()
			if err := r.ended(t); err != nil {
				t.Fatal(err)
			}
			cfg := r.cfg
			if c.again != nil {
				cfg.Bootstrap = c.again(t, cfg)
			}
			r = runAs(t, cfg)
			if s := r.ready(t); s.PID != fallen.PID || !s.FellBack {
				t.Errorf("taken back is %+v, want pid %d", s, fallen.PID)
			}
			c.mend(r, binary)
			within(t, 30*time.Second, func() error {
				if s := r.Status(); s.FellBack || s.Kept != "" || s.PID == 0 || s.PID == fallen.PID {
					return fmt.Errorf("status %+v", s)
				}
				return r.admin.Ready(t.Context())
			})
		})
	}
}

// TestFallBackAfterBoot replaces the binary by one that dies, while nothing of
// the mesh runs: what worked before the boot is started, until another is there.
func TestFallBackAfterBoot(t *testing.T) {
	dir := envoytest.Dir(t)
	binary := filepath.Join(dir, "envoy")
	put(t, binary, program(t))
	cfg := envoy.Config{
		Binary: binary, Dir: filepath.Join(dir, "work"), AdminSocket: filepath.Join(dir, "admin.sock"), Keep: filepath.Join(dir, "last.json"),
		Concurrency: 1, DrainTime: -1,
	}
	cfg.Bootstrap = envoy.Fixed(document(t, cfg, nil))
	cfg.ProvenAfter(10 * time.Millisecond)
	kept := cfg.Keep + ".binary"
	isKept := func() error {
		was, err := os.Stat(binary)
		now, errKept := os.Stat(kept)
		if err := errors.Join(err, errKept); err != nil {
			return err
		}
		if !os.SameFile(was, now) {
			return fmt.Errorf("%s is another file than %s", kept, binary)
		}
		return nil
	}
	r := runAs(t, cfg)
	boot := func() {
		t.Helper()
		r.release()
		if err := r.ended(t); err != nil {
			t.Fatal(err)
		}
		pid := r.Status().PID
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		within(t, time.Minute, func() error { return gone(pid) })
		if err := os.RemoveAll(cfg.Dir); err != nil {
			t.Fatal(err)
		}
	}
	fellBack := func() error {
		if s := r.Status(); !s.FellBack || s.PID == 0 {
			return fmt.Errorf("status %+v", s)
		}
		return r.admin.Ready(t.Context())
	}
	r.ready(t)
	within(t, time.Minute, isKept)

	boot()
	put(t, binary, []byte("#!/bin/sh\ncase \"$*\" in *--restart-epoch*) exit 3;; esac\nexec "+envoytest.Binary(t)+" \"$@\"\n"))
	r = runAs(t, cfg)
	within(t, time.Minute, fellBack)
	if s := r.Status(); s.LastExit != "exit status 3" {
		t.Errorf("status %+v", s)
	}
	boot()
	r = runAs(t, cfg)
	within(t, time.Minute, fellBack)
	if s := r.Status(); s.LastExit != "" || s.Restarts != 0 {
		t.Errorf("the bad one was tried again: status %+v", s)
	}
	put(t, binary, append(program(t), 0))
	within(t, time.Minute, func() error {
		if s := r.Status(); s.FellBack || s.PID == 0 {
			return fmt.Errorf("status %+v", s)
		}
		return isKept()
	})
	r.stop(t)
}
