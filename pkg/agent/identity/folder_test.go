//go:build linux

package identity

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/testtime"
	"github.com/weft-mesh/weft/pkg/cp/token"
	"github.com/weft-mesh/weft/pkg/keyfile"
)

// twice is a host that was certified twice, so that each file of it has one
// before it, and the content of all.
func twice(t *testing.T, w *world) (dir string, files map[string][]byte) {
	t.Helper()
	i := w.joined(t, token.Claims{})
	must(t, register(t, i, doc("default", "web-1", "web")))
	must(t, i.files.save(agentName, i.id.String(), i.agentDocument()))
	must(t, register(t, i, doc("default", "web-1", "web")))
	files = map[string][]byte{}
	for _, name := range []string{"agent.pem", "agent.pem.before", "workload.pem", "workload.pem.before"} {
		data, err := os.ReadFile(filepath.Join(i.files.dir, name))
		must(t, err)
		files[name] = data
	}
	return i.files.dir, files
}

// laid is a state folder with just those files.
func laid(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	must(t, os.Mkdir(dir, 0o700))
	for name, data := range files {
		must(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	return dir
}

// TestRuinedFiles ruins the newest file of agent and workload in every way, and
// then the one before it too.
func TestRuinedFiles(t *testing.T) {
	w := newWorld(t)
	_, files := twice(t, w)
	_, others := twice(t, func() *world { o := newWorld(t); return o }())
	quiet := slog.New(slog.DiscardHandler)

	opened := func(t *testing.T, dir, want string) {
		t.Helper()
		watch := testtime.Start(t)
		i, err := Open(dir, quiet)
		if took := watch.Took(); took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
		if err != nil {
			t.Fatalf("not opened: %v", err)
		}
		s, _ := i.Current()
		_, before, err := decode(files["workload.pem.before"])
		must(t, err)
		if s.Version == "" || want == "workload.pem" && !bytes.Equal(s.Certificate, before.cert) {
			t.Errorf("in force is %s", s)
		}
		st := i.Status()
		if len(st.PassedOver) != 1 || !strings.HasPrefix(st.PassedOver[0], want+": ") {
			t.Errorf("passed over: %q", st.PassedOver)
		}
		if bad, _ := filepath.Glob(filepath.Join(dir, want+".bad-*")); len(bad) != 1 {
			t.Errorf("no evidence of %s was kept", want)
		}
	}

	for _, name := range []string{"agent.pem", "workload.pem"} {
		data := files[name]
		type ruin struct {
			name string
			data []byte
		}
		ruins := []ruin{
			{"empty", nil},
			{"noise", bytes.Repeat([]byte{0xa5}, 3000)},
			{"a line without end", bytes.Repeat([]byte("weft-identity "), 5000)},
			{"another schema", bytes.Replace(data, []byte(sealMagic+" 1 "), []byte(sealMagic+" 2 "), 1)},
			{"more than it says", append(bytes.Clone(data), "-----BEGIN X-----\n"...)},
			{"another host's", others[name]},
			{"the other kind", files[map[string]string{"agent.pem": "workload.pem", "workload.pem": "agent.pem"}[name]]},
		}
		if name == "agent.pem" {
			// It says itself whose it is: that is told by the configuration.
			ruins = append(ruins[:5], ruins[6:]...)
		} else {
			_, d, err := decode(data)
			must(t, err)
			foreign, err := d.encode("workload:default.web-2")
			must(t, err)
			ruins[5].data = foreign
		}
		for at := 0; at < len(data); at += 64 {
			flipped := bytes.Clone(data)
			flipped[at] ^= 1 << (at / 64 % 8)
			ruins = append(ruins, ruin{fmt.Sprintf("bit of byte %d flipped", at), flipped})
		}
		for n := 1; n < len(data); n += 97 {
			ruins = append(ruins, ruin{fmt.Sprintf("cut after %d bytes", n), data[:n]})
		}
		for _, r := range ruins {
			t.Run(name+" "+r.name, func(t *testing.T) {
				dir := laid(t, files)
				must(t, os.WriteFile(filepath.Join(dir, name), r.data, 0o600))
				opened(t, dir, name)
			})
		}
		for what, put := range map[string]func(t *testing.T, path string){
			"link":   func(t *testing.T, path string) { must(t, os.Symlink("/etc/shadow", path)) },
			"fifo":   func(t *testing.T, path string) { must(t, syscall.Mkfifo(path, 0o600)) },
			"folder": func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o700)) },
			"2 GiB": func(t *testing.T, path string) {
				must(t, os.WriteFile(path, nil, 0o600))
				must(t, os.Truncate(path, 2<<30))
			},
		} {
			t.Run(name+" is a "+what, func(t *testing.T) {
				dir := laid(t, files)
				must(t, os.Remove(filepath.Join(dir, name)))
				put(t, filepath.Join(dir, name))
				opened(t, dir, name)
			})
		}
		for what, expose := range map[string]func(path string) error{
			"readable by all":   func(p string) error { return os.Chmod(p, 0o644) },
			"writable by all":   func(p string) error { return os.Chmod(p, 0o666) },
			"read by its group": func(p string) error { return os.Chmod(p, 0o640) },
			"nobody's":          func(p string) error { return os.Chown(p, 65534, 65534) },
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				if what == "nobody's" && os.Geteuid() != 0 {
					t.Skip("giving a file away takes root")
				}
				dir := laid(t, files)
				must(t, expose(filepath.Join(dir, name)))
				_, err := Open(dir, quiet)
				if !errors.Is(err, keyfile.ErrExposed) || !strings.Contains(err.Error(), name) {
					t.Errorf("error %v", err)
				}
			})
		}
		t.Run(name+" and the one before", func(t *testing.T) {
			dir := laid(t, files)
			must(t, os.Truncate(filepath.Join(dir, name), 10))
			must(t, os.Truncate(filepath.Join(dir, name+".before"), 0))
			i, err := Open(dir, quiet)
			if name == "agent.pem" {
				if err == nil || errors.Is(err, ErrNotJoined) || !strings.Contains(err.Error(), "weft-agent join") {
					t.Errorf("error %v", err)
				}
				return
			}
			must(t, err)
			if s, _ := i.Current(); s.Version != "" || len(i.Status().PassedOver) != 2 || !strings.Contains(i.Status().LastError, "not used") {
				t.Errorf("secrets %s, status %+v", s, i.Status())
			}
		})
	}
	t.Run("a look moves nothing", func(t *testing.T) {
		dir := laid(t, files)
		must(t, os.Truncate(filepath.Join(dir, "workload.pem"), 10))
		i, err := Open(dir, nil)
		must(t, err)
		if len(i.Status().PassedOver) != 1 {
			t.Errorf("passed over %q", i.Status().PassedOver)
		}
		if _, err := os.Stat(filepath.Join(dir, "workload.pem")); err != nil {
			t.Error(err)
		}
	})
	t.Run("evidence is bounded", func(t *testing.T) {
		dir := laid(t, files)
		for range 5 {
			must(t, os.WriteFile(filepath.Join(dir, "workload.pem"), nil, 0o600))
			_, err := Open(dir, quiet)
			must(t, err)
		}
		if bad, _ := filepath.Glob(filepath.Join(dir, "*.bad-*")); len(bad) != maxAside {
			t.Errorf("left are %q", bad)
		}
		must(t, Remove(dir))
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("left by Remove: %v", left)
		}
	})
	t.Run("no folder, no identity", func(t *testing.T) {
		for _, dir := range []string{filepath.Join(t.TempDir(), "absent"), laid(t, nil)} {
			if _, err := Open(dir, quiet); !errors.Is(err, ErrNotJoined) || !strings.Contains(err.Error(), "weft-agent join") {
				t.Errorf("error %v", err)
			}
		}
		open := laid(t, files)
		must(t, os.Chmod(open, 0o755))
		if _, err := Open(open, quiet); !errors.Is(err, keyfile.ErrExposed) || !strings.Contains(err.Error(), "chmod 700") {
			t.Errorf("error %v", err)
		}
	})
}

// A crash at any step of saving leaves the old file or the new one.
func TestCrashWhileSaving(t *testing.T) {
	w := newWorld(t)
	_, files := twice(t, w)
	old, fresh := files["workload.pem.before"], files["workload.pem"]
	for step, left := range []map[string][]byte{
		{"workload.pem": old, ".workload.pem.next-1": fresh[:50]},
		{"workload.pem": old, "workload.pem.next": fresh},
		{"workload.pem.before": old, "workload.pem.next": fresh},
		{"workload.pem": fresh, "workload.pem.before": old},
	} {
		left["agent.pem"] = files["agent.pem"]
		i, err := Open(laid(t, left), w.logger())
		must(t, err)
		want := old
		if step == 3 {
			want = fresh
		}
		_, d, err := decode(want)
		must(t, err)
		if s, _ := i.Current(); !bytes.Equal(s.Key, d.key) || len(i.Status().PassedOver) > 0 {
			t.Errorf("step %d: in force %s, passed over %q", step, s, i.Status().PassedOver)
		}
	}
}

// TestFullDisk fills a file system of its own, and makes another read-only.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting takes root")
	}
	for name, breaks := range map[string]struct {
		wreck, mend func(t *testing.T, dir string)
	}{
		"full": {
			func(t *testing.T, dir string) {
				f, err := os.Create(filepath.Join(dir, "filler"))
				must(t, err)
				for err == nil {
					_, err = f.Write(make([]byte, 4096))
				}
				if !errors.Is(err, syscall.ENOSPC) {
					t.Fatal(err)
				}
				must(t, f.Close())
			},
			func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, "filler"))) },
		},
		"read-only": {
			func(t *testing.T, dir string) {
				must(t, unix.Mount("weft", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, "size=128k"))
			},
			func(t *testing.T, dir string) {
				must(t, unix.Mount("weft", dir, "tmpfs", unix.MS_REMOUNT, "size=128k"))
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			o := w.options(t, token.Claims{})
			must(t, os.MkdirAll(o.Dir, 0o700))
			runtime.LockOSThread() // for good: the thread has mounts of its own
			must(t, unix.Unshare(unix.CLONE_NEWNS))
			must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
			must(t, unix.Mount("weft", o.Dir, "tmpfs", 0, "size=128k,mode=0700"))
			t.Cleanup(func() { _ = unix.Unmount(o.Dir, unix.MNT_DETACH) })
			i := join(t, o)
			must(t, register(t, i, doc("default", "web-1", "web")))
			old, _ := i.Current()

			breaks.wreck(t, o.Dir)
			must(t, register(t, i, doc("default", "web-1", "web")))
			fresh, _ := i.Current()
			if fresh.Version == old.Version || i.Status().Unsaved == "" {
				t.Errorf("in force %s after %s, status %+v", fresh, old, i.Status())
			}
			if again, _ := w.open(t, o.Dir).Current(); again.Version != old.Version {
				t.Errorf("on disk is %s, want the one before", again)
			}
			breaks.mend(t, o.Dir)
			i.save() // as Run does
			if s := i.Status(); s.Unsaved != "" {
				t.Errorf("status %+v", s)
			}
			if again, _ := w.open(t, o.Dir).Current(); again.Version != fresh.Version {
				t.Errorf("on disk is %s, want %s", again, fresh)
			}
			log := w.log.String()
			if strings.Count(log, "were not saved") != 1 || strings.Count(log, "saved again") != 1 {
				t.Errorf("the log says\n%s", log)
			}
		})
	}
}

// Keys go into no folder that is open to others, or that is elsewhere.
func TestJoinChecksItsFolder(t *testing.T) {
	w := newWorld(t)
	o := w.options(t, token.Claims{})
	must(t, os.Symlink(t.TempDir(), o.Dir))
	if _, err := Join(t.Context(), o); !errors.Is(err, keyfile.ErrExposed) {
		t.Errorf("a link: %v", err)
	}
	o = w.options(t, token.Claims{})
	must(t, os.Mkdir(o.Dir, 0o755))
	if _, err := Join(t.Context(), o); !errors.Is(err, keyfile.ErrExposed) {
		t.Errorf("open to others: %v", err)
	}
}
