//go:build linux

package envoy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/pkg/envoy"
)

// told is what the other program of these tests needs of a Config.
type told struct {
	Binary, Dir, AdminSocket string
	Bootstrap                []byte
}

func (c told) config() envoy.Config {
	return envoy.Config{Binary: c.Binary, Dir: c.Dir, AdminSocket: c.AdminSocket, Bootstrap: envoy.Fixed(c.Bootstrap), Concurrency: 1, DrainTime: -1}
}

// agent starts another program that runs Envoy.
func agent(t *testing.T, c told) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "WEFT_TEST_RUN_ENVOY="+string(text))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

func TestEnvoyOutlivesItsAgent(t *testing.T) {
	dir := envoytest.Dir(t)
	c := told{Binary: envoytest.Binary(t), Dir: filepath.Join(dir, "work"), AdminSocket: filepath.Join(dir, "admin.sock")}
	c.Bootstrap = document(t, c.config(), nil)
	first := agent(t, c)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := envoy.New(c.config()).Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	admin := envoy.NewAdmin(c.AdminSocket)
	within(t, time.Minute, func() error { return admin.Ready(t.Context()) })
	if err := errors.Join(first.Process.Kill(), ignore(first.Wait())); err != nil {
		t.Fatal(err)
	}
	if err := admin.Ready(t.Context()); err != nil {
		t.Fatalf("its Envoy is gone with a killed agent: %v", err)
	}
	// What Envoy says while nobody listens is not lost.
	post(t, c.AdminSocket, "/logging?level=info")
	post(t, c.AdminSocket, "/drain_listeners")
	post(t, c.AdminSocket, "/logging?level=warning")

	r := runAs(t, c.config())
	s := r.ready(t)
	if s.Restarts != 0 || s.LastExit != "" || time.Since(s.Since) > time.Minute {
		t.Errorf("status %+v of one that was taken back", s)
	}
	within(t, time.Minute, func() error {
		if text := r.log.String(); !strings.Contains(text, `msg="envoy was taken back"`) || !strings.Contains(text, "change all log levels") {
			return fmt.Errorf("log\n%s", text)
		}
		return nil
	})
	r.release()
	if err := r.ended(t); err != nil {
		t.Error(err)
	}
	second := runAs(t, c.config())
	if again := second.ready(t); again.PID != s.PID {
		t.Errorf("pid %d, want still %d", again.PID, s.PID)
	}
	if strings.Contains(second.log.String(), "change all log levels") {
		t.Errorf("what was passed on is passed on again:\n%s", second.log)
	}
	second.stop(t)
	if err := gone(s.PID); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(c.Dir); err != nil || len(left) > 0 {
		t.Errorf("files are left: %v %v", left, err)
	}
}

func ignore(error) error { return nil }

// post asks what Admin does not.
func post(t *testing.T, socket, path string) {
	t.Helper()
	out, err := exec.Command("curl", "--silent", "--show-error", "--fail", "--max-time", "5", "--request", "POST", "--unix-socket", socket, "http://envoy"+path).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", path, err, out)
	}
}

// A process of the same number, arguments or socket is not ours for that.
func TestForeignProcessesAreLeftAlone(t *testing.T) {
	dir := envoytest.Dir(t)
	c := told{Binary: envoytest.Binary(t), Dir: filepath.Join(dir, "work"), AdminSocket: filepath.Join(dir, "admin.sock")}
	c.Bootstrap = document(t, c.config(), nil)
	if err := os.Mkdir(c.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	// It has our bootstrap among its arguments, but nothing else of ours.
	impostor := exec.Command("sh", "-c", "read nothing", "envoy", "--config-path", filepath.Join(c.Dir, "bootstrap-0.json"), "--restart-epoch", "7", "--base-id", "1")
	if _, err := impostor.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := impostor.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = impostor.Process.Kill()
		_ = impostor.Wait()
	}()
	r := runAs(t, c.config())
	if s := r.ready(t); s.PID == impostor.Process.Pid || s.Epoch != 0 {
		t.Errorf("status %+v, the impostor is pid %d", s, impostor.Process.Pid)
	}
	r.stop(t)
	if err := gone(impostor.Process.Pid); err == nil {
		t.Error("a stranger was ended")
	}
}

// calls calls url over connections that are kept until stop, and returns what failed.
func calls(t *testing.T, at string) (stop func() []string, made *atomic.Int64) {
	t.Helper()
	made = new(atomic.Int64)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	var mu sync.Mutex
	var failed []string
	var wg sync.WaitGroup
	for _, keep := range []bool{true, true, false, false} {
		client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: !keep}}
		wg.Go(func() {
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for ctx.Err() == nil {
				<-tick.C
				resp, err := client.Post((&url.URL{Scheme: "http", Host: at}).String(), "text/plain", strings.NewReader("x"))
				if err == nil {
					_ = resp.Body.Close()
					if resp.StatusCode != http.StatusOK {
						err = errors.New(resp.Status)
					}
				}
				made.Add(1)
				if err != nil {
					mu.Lock()
					failed = append(failed, err.Error())
					mu.Unlock()
				}
			}
		})
	}
	return func() []string {
		cancel()
		wg.Wait()
		return failed
	}, made
}

// TestReplacement changes bootstrap, options and binary of an Envoy under load.
func TestReplacement(t *testing.T) {
	workload := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer workload.Close()
	at := freePort(t)
	first := run(t, envoytest.Binary(t), func(c *envoy.Config) {
		c.ChangeTime = 2 * time.Second
		c.Bootstrap = envoy.Fixed(document(t, *c, forward(at, workload.Listener.Addr())))
	})
	s := first.ready(t)
	stop, made := calls(t, at.String())
	cfg := first.cfg
	other := filepath.Join(envoytest.Dir(t), "envoy")
	binary, err := os.ReadFile(cfg.Binary)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, append(binary, 0), 0o755); err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		name   string
		change func()
		hot    bool
	}{
		{"nothing", func() {}, false},
		{"another bootstrap", func() { cfg.Bootstrap = another(cfg.Bootstrap) }, true},
		{"another option", func() { cfg.Concurrency = 2 }, true},
		{"another binary", func() { cfg.Binary = other }, true},
	}
	running := first
	for _, step := range steps {
		t.Log(step.name)
		step.change()
		running.release()
		if err := running.ended(t); err != nil {
			t.Fatal(err)
		}
		before := made.Load()
		next := runAs(t, cfg)
		within(t, time.Minute, func() error {
			now := next.Status()
			if step.hot && (now.PID == s.PID || now.Epoch != s.Epoch+1) || now.PID == 0 {
				return fmt.Errorf("status %+v", now)
			}
			return next.admin.Ready(t.Context())
		})
		now := next.Status()
		if !step.hot && now.PID != s.PID {
			t.Errorf("pid %d, want still %d", now.PID, s.PID)
		}
		if step.hot {
			within(t, time.Minute, func() error { return gone(s.PID) })
		}
		within(t, time.Minute, func() error {
			if n := made.Load() - before; n < 50 {
				return fmt.Errorf("%d calls meanwhile", n)
			}
			return nil
		})
		s, running = now, next
	}
	if failed := stop(); len(failed) > 0 {
		t.Errorf("%d of %d calls failed: %v", len(failed), made.Load(), failed[:min(3, len(failed))])
	}
}

func TestNothingIsReplacedByWhatEnvoyRefuses(t *testing.T) {
	first := run(t, envoytest.Binary(t), nil)
	s := first.ready(t)
	first.release()
	if err := first.ended(t); err != nil {
		t.Fatal(err)
	}
	cfg := first.cfg
	cfg.Bootstrap = envoy.Fixed([]byte(`{"static_resources": {"listeners": [{"name": "none"}]}}`))
	second := runAs(t, cfg)
	within(t, time.Minute, func() error {
		now := second.Status()
		if now.PID != s.PID || !strings.Contains(now.Kept, "does not take its bootstrap") {
			return fmt.Errorf("status %+v", now)
		}
		return second.admin.Ready(t.Context())
	})
}

// A successor that dies while it starts leaves the former without its admin
// socket, but not its callers without an answer, and the next one takes over.
func TestSuccessorThatIsKilled(t *testing.T) {
	workload := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer workload.Close()
	at := freePort(t)
	first := run(t, envoytest.Binary(t), func(c *envoy.Config) {
		c.ChangeTime = time.Second
		c.Bootstrap = envoy.Fixed(document(t, *c, forward(at, workload.Listener.Addr())))
	})
	s := first.ready(t)
	stop, _ := calls(t, at.String())
	first.release()
	if err := first.ended(t); err != nil {
		t.Fatal(err)
	}
	cfg := first.cfg
	cfg.Bootstrap = another(cfg.Bootstrap)
	second := runAs(t, cfg)
	mark(t, cfg.Dir)
	killed := map[int]bool{}
	within(t, time.Minute, func() error {
		procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, f := range procs {
			text, _ := os.ReadFile(f)
			var pid int
			_, _ = fmt.Sscanf(f, "/proc/%d/", &pid)
			if strings.Contains(string(text), cfg.Dir) && strings.Contains(string(text), "--restart-epoch\x001\x00") && strings.HasSuffix(strings.SplitN(string(text), "\x00", 2)[0], "envoy") {
				killed[pid] = true
				return syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		return errors.New("it was not found")
	})
	within(t, time.Minute, func() error {
		now := second.Status()
		if now.PID == s.PID || now.PID == 0 || killed[now.PID] {
			return fmt.Errorf("status %+v", now)
		}
		return second.admin.Ready(t.Context())
	})
	// One that was killed when it had told the former to end leaves nobody.
	before, _, killedInTime := strings.Cut(second.log.String(), "could not be replaced")
	killedInTime = killedInTime && !strings.Contains(before, "terminating parent process")
	if failed := stop(); len(failed) > 0 && killedInTime {
		t.Errorf("%d calls failed: %v", len(failed), failed[:min(3, len(failed))])
	}
}

// mark notes in the memory that Envoys share what one notes that dies of its
// start: that it is under way.
func mark(t *testing.T, dir string) {
	t.Helper()
	maps, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range maps {
		text, _ := os.ReadFile(m)
		if !strings.Contains(string(text), dir) {
			continue
		}
		_, rest, _ := strings.Cut(string(text), "--base-id\x00")
		id, _, _ := strings.Cut(rest, "\x00")
		f, err := os.OpenFile("/dev/shm/envoy_shared_memory_"+id+"0", os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt([]byte{1}, info.Size()-8)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("there is no Envoy")
}
