//go:build linux

package envoy_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/pkg/envoy"
)

// A limited is a cgroup of the test's own, by the names that its version has.
type limited struct{ dir, limit, usage string }

func (l limited) write(t *testing.T, file, value string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, file), []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

// inOwn makes a cgroup beneath this process's own that has one of the files,
// and removes it with the test. "" is that no tree of this host has such ones.
func inOwn(t *testing.T, files ...string) (dir, file string) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		roots := []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}
		if parts[0] != "0" {
			roots = []string{filepath.Join("/sys/fs/cgroup", parts[1])}
		}
		for _, root := range roots {
			dir := filepath.Join(root, parts[2], fmt.Sprintf("weft-test-%d", os.Getpid()))
			if os.Mkdir(dir, 0o755) != nil {
				continue
			}
			for _, file := range files {
				if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
					t.Cleanup(func() { within(t, 10*time.Second, func() error { return os.Remove(dir) }) })
					return dir, file
				}
			}
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		}
	}
	return "", ""
}

// TestLimitsOfItsOwnCgroup has Envoy be put in cgroups of its own: its memory
// and workers are what those let it have, and a kill for want of memory is told
// apart from others.
func TestLimitsOfItsOwnCgroup(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make cgroups, and this is user", os.Geteuid())
	}
	memory, file := inOwn(t, "memory.max", "memory.limit_in_bytes")
	if memory == "" {
		t.Skip("no cgroup of this process's trees can limit memory: neither memory.max nor memory.limit_in_bytes is in one that was made")
	}
	l := limited{memory, file, map[string]string{"memory.max": "memory.current", "memory.limit_in_bytes": "memory.usage_in_bytes"}[file]}
	const most = 256 << 20
	l.write(t, l.limit, strconv.Itoa(most))
	cpu, file := inOwn(t, "cpu.max", "cpu.cfs_quota_us")
	quota := limited{dir: cpu}
	switch file {
	case "cpu.max":
		quota.write(t, file, "50000 100000")
	case "cpu.cfs_quota_us":
		quota.write(t, file, "100000")
		quota.write(t, "cpu.cfs_period_us", "100000")
	default:
		t.Error("no cgroup of this process's trees can limit the processor")
	}

	sink, err := net.Listen("tcp", "127.0.0.1:0") // takes calls and never reads
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	at := freePort(t)
	var told atomic.Uint64
	r := run(t, envoytest.Binary(t), func(c *envoy.Config) {
		c.Concurrency = 0
		c.Settle = func(_ context.Context, pid int) error {
			var errs []error
			for _, dir := range []string{memory, cpu} {
				errs = append(errs, os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0))
			}
			return errors.Join(errs...)
		}
		text := document(t, *c, forward(at, sink.Addr()))
		c.Bootstrap = func(l envoy.Limits) ([]byte, error) {
			told.Store(l.Memory)
			return text, nil
		}
	})
	s := r.ready(t)
	if told.Load() != most || s.Limits != (envoy.Limits{Memory: most, Cores: 1}) {
		t.Errorf("the bootstrap was made for %d bytes, limits are %+v; want %d and one core", told.Load(), s.Limits, most)
	}
	if args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.PID)); err != nil || !strings.Contains(string(args), "--concurrency\x001\x00") {
		t.Errorf("arguments %q, %v", args, err)
	}

	// Little more than it has, and calls that it has to hold.
	text, err := os.ReadFile(filepath.Join(memory, l.usage))
	if err != nil {
		t.Fatal(err)
	}
	used, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	l.write(t, l.limit, strconv.FormatUint(used+4<<20, 10))
	conns := fill(t, at)
	within(t, 20*time.Second, func() error {
		if now := r.Status(); now.LastExit != "signal: killed, out of memory" || now.OutOfMemory == 0 {
			return fmt.Errorf("status %+v", now)
		}
		return nil
	})
	l.write(t, l.limit, strconv.Itoa(most))
	for _, c := range conns {
		_ = c.Close()
	}
	killed := 0
	within(t, 20*time.Second, func() error { // it may have died of it once more
		now := r.ready(t)
		killed = now.OutOfMemory
		return syscall.Kill(now.PID, syscall.SIGKILL)
	})
	within(t, 20*time.Second, func() error {
		if now := r.Status(); now.LastExit != "signal: killed" || now.OutOfMemory != killed {
			return fmt.Errorf("status %+v after a kill that was not for want of memory", now)
		}
		return nil
	})
	if !strings.Contains(r.log.String(), `exit="signal: killed, out of memory"`) {
		t.Error("the log does not tell of it")
	}
}

// fill makes calls that nobody reads, a hundred of up to 4 MiB.
func fill(t *testing.T, at *net.TCPAddr) (conns []net.Conn) {
	t.Helper()
	block := make([]byte, 64<<10)
	for range 100 {
		c, err := net.DialTCP("tcp", nil, at)
		if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrClosed) {
			return conns // it is dead
		}
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n"); err != nil {
			continue
		}
		for range 64 {
			if _, err := c.Write(block); err != nil {
				break
			}
		}
	}
	return conns
}

// TestLimitsChange changes what the cgroups of an Envoy under load let it have:
// it is replaced by one that was made for that.
func TestLimitsChange(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make cgroups, and this is user", os.Geteuid())
	}
	dir, file := inOwn(t, "memory.max", "memory.limit_in_bytes")
	if dir == "" {
		t.Skip("no cgroup of this process's trees can limit memory: neither memory.max nor memory.limit_in_bytes is in one that was made")
	}
	l := limited{dir: dir}
	const less, more = 256 << 20, 384 << 20
	l.write(t, file, strconv.Itoa(less))
	workload := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer workload.Close()
	at := freePort(t)
	r := run(t, envoytest.Binary(t), func(c *envoy.Config) {
		c.ChangeTime = time.Second
		c.Settle = func(_ context.Context, pid int) error {
			return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
		}
		text := document(t, *c, forward(at, workload.Listener.Addr()))
		c.Bootstrap = func(l envoy.Limits) ([]byte, error) {
			return append(text, strings.Repeat("\n", int(l.Memory>>27))...), nil
		}
	})
	s := r.ready(t)
	if s.Limits.Memory != less {
		t.Errorf("limits are %+v, want %d bytes", s.Limits, less)
	}
	stop, made := calls(t, at.String())
	l.write(t, file, strconv.Itoa(more))
	within(t, time.Minute, func() error {
		if now := r.Status(); now.PID == s.PID || now.Epoch != s.Epoch+1 || now.Limits.Memory != more {
			return fmt.Errorf("status %+v", now)
		}
		return r.admin.Ready(t.Context())
	})
	// What it can have without another start is told, and no more.
	s = r.Status()
	l.write(t, file, strconv.Itoa(more+1<<20))
	within(t, time.Minute, func() error {
		if now := r.Status(); now.Limits.Memory != more+1<<20 {
			return fmt.Errorf("status %+v", now)
		}
		return nil
	})
	if now := r.Status(); now.PID != s.PID {
		t.Errorf("it was replaced for nothing: status %+v", now)
	}
	if failed := stop(); len(failed) > 0 {
		t.Errorf("%d of %d calls failed: %v", len(failed), made.Load(), failed[:min(3, len(failed))])
	}
	t.Logf("%d calls", made.Load())
}
