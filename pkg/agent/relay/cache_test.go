//go:build linux

package relay

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// versionOf is the version of what sample made.
func versionOf(l *loaded) string {
	if l == nil {
		return "nothing"
	}
	return l.set[clusters].resources[0].Version
}

// twoGenerations makes a folder with the proven set "1" and the newer "2".
func twoGenerations(t *testing.T) (dir, newest string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "xds")
	c, _ := openTest(t, dir)
	long := time.Now().Add(-time.Hour)
	c.save(sample(t, "1"), long, -1)
	c.save(sample(t, "2"), long, -1)
	if files := left(t, dir, "set-*"); len(files) != 2 {
		t.Fatalf("there are %v", files)
	}
	return dir, filepath.Join(dir, "set-2")
}

func TestCacheKeepsTwo(t *testing.T) {
	dir, newest := twoGenerations(t)
	info, err := os.Stat(newest)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
	c, log := openTest(t, dir)
	l := c.load()
	if versionOf(l) != "2" || time.Since(l.saved) > time.Minute || log.Len() > 0 {
		t.Errorf("loaded %s of %s, logged %s", versionOf(l), l.saved, log)
	}
	before, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	c.save(sample(t, "2"), time.Time{}, proof)
	if after, _ := os.ReadDir(dir); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("an equal set was written: %v, before %v", after, before)
	}
	for v := range 20 {
		c.save(sample(t, fmt.Sprint(100+v)), time.Now(), -1)
	}
	if files := left(t, dir, "*"); len(files) > 2 {
		t.Errorf("there are %v", files)
	}
	if err := RemoveCache(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder is left: %v", err)
	}
	if err := RemoveCache(dir); err != nil {
		t.Errorf("removed again: %v", err)
	}
}

// TestCacheRuined has the newest file ruined in every way that a disk, a
// person or an attacker may.
func TestCacheRuined(t *testing.T) {
	shadow := filepath.Join(t.TempDir(), "shadow")
	write(t, shadow, encoded(t, sample(t, "stolen")), 0o600)
	type ruin struct {
		name string
		do   func(path string, good []byte) error
	}
	ruins := []ruin{
		{"empty", func(p string, _ []byte) error { return os.Truncate(p, 0) }},
		{"another version", func(p string, b []byte) error { b[len(keptMagic)+3]++; return os.WriteFile(p, b, 0o600) }},
		{"another host's", func(p string, _ []byte) error {
			b, err := encodeKept("default.web-2", sample(t, "2"))
			if err != nil {
				return err
			}
			return os.WriteFile(p, b, 0o600)
		}},
		{"symlink", func(p string, _ []byte) error { return os.Symlink(shadow, gone(p)) }},
		{"hanging symlink", func(p string, _ []byte) error { return os.Symlink("/nowhere", gone(p)) }},
		{"fifo", func(p string, _ []byte) error { return syscall.Mkfifo(gone(p), 0o600) }},
		{"folder", func(p string, _ []byte) error { return os.Mkdir(gone(p), 0o700) }},
		{"socket", func(p string, _ []byte) error { return unix.Mknod(gone(p), unix.S_IFSOCK|0o600, 0) }},
		{"2 GiB", func(p string, _ []byte) error { return os.Truncate(p, 2<<30) }},
		{"mode 0666", func(p string, _ []byte) error { return os.Chmod(p, 0o666) }},
		{"nobody's", func(p string, _ []byte) error { return os.Chown(p, 65534, 65534) }},
	}
	size := len(encoded(t, sample(t, "2")))
	for at := 0; at < size; at += 64 {
		ruins = append(ruins,
			ruin{fmt.Sprintf("bit of byte %d", at), func(p string, b []byte) error { b[at] ^= 1; return os.WriteFile(p, b, 0o600) }},
			ruin{fmt.Sprintf("cut at %d", at), func(p string, _ []byte) error { return os.Truncate(p, int64(at)) }})
	}
	for _, r := range ruins {
		t.Run(r.name, func(t *testing.T) {
			dir, newest := twoGenerations(t)
			good, err := os.ReadFile(newest)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.do(newest, good); err != nil {
				t.Fatal(err)
			}
			c, log := openTest(t, dir)
			if got := versionOf(c.load()); got != "1" {
				t.Errorf("loaded %s, want the one before", got)
			}
			if !strings.Contains(log.String(), "passed over") || len(c.status().PassedOver) != 1 {
				t.Errorf("nobody was told: log %q, status %+v", log, c.status())
			}
			if files := left(t, dir, "set-2.bad-*"); len(files) != 1 {
				t.Errorf("no evidence: %v", left(t, dir, "*"))
			}
			// Life goes on, and the evidence does not come back.
			c.save(sample(t, "3"), time.Time{}, proof)
			c, _ = openTest(t, dir)
			if got := versionOf(c.load()); got != "3" {
				t.Errorf("then loaded %s", got)
			}
		})
	}
}

func gone(path string) string {
	if err := os.Remove(path); err != nil {
		panic(err)
	}
	return path
}

func TestCacheBoundsEvidence(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "xds")
	for range 10 {
		c, _ := openTest(t, dir)
		c.save(sample(t, "1"), time.Time{}, proof)
		if err := os.Truncate(c.path(c.last), 5); err != nil {
			t.Fatal(err)
		}
		c, _ = openTest(t, dir)
		if l := c.load(); l != nil {
			t.Fatalf("loaded %s", versionOf(l))
		}
	}
	if files := left(t, dir, "*"); len(files) > maxAside {
		t.Errorf("%d files are left: %v", len(files), files)
	}
}

func TestCacheFolderRefused(t *testing.T) {
	for name, put := range map[string]func(dir string) error{
		"symlink": func(dir string) error { return os.Symlink(t.TempDir(), dir) },
		"open":    func(dir string) error { return errors.Join(os.Mkdir(dir, 0o755), os.Chmod(dir, 0o755)) }, // whatever the umask
		"file":    func(dir string) error { return os.WriteFile(dir, nil, 0o600) },
	} {
		dir := filepath.Join(t.TempDir(), "xds")
		if err := put(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := openCache(dir, testID.String(), slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s was taken for the folder", name)
		}
	}
}

// TestCacheTrial counts Envoys over starts of the agent.
func TestCacheTrial(t *testing.T) {
	dir, _ := twoGenerations(t)
	for range maxTries {
		c, _ := openTest(t, dir)
		l := c.load()
		if versionOf(l) != "2" || !c.try(l.seq, "") {
			t.Fatalf("loaded %s", versionOf(l))
		}
	}
	c, log := openTest(t, dir)
	l := c.load()
	if versionOf(l) != "1" || !strings.Contains(log.String(), "did not live with it, tried 2 times") {
		t.Fatalf("loaded %s, logged %s", versionOf(l), log)
	}
	if files := left(t, dir, "set-2.bad-*"); len(files) != 1 {
		t.Errorf("no evidence: %v", left(t, dir, "*"))
	}
	if got := []bool{c.try(l.seq, ""), c.try(l.seq, ""), c.try(l.seq, "")}; !slices.Equal(got, []bool{true, true, false}) {
		t.Errorf("the one before it is not tried twice too: %v", got)
	}
	c.lived(l.seq, true)
	for range 2 * maxTries {
		c, _ := openTest(t, dir)
		l := c.load()
		if versionOf(l) != "1" || !c.try(l.seq, "") {
			t.Fatalf("after Envoy lived with it: loaded %s", versionOf(l))
		}
		c.lived(l.seq, false)
	}
	for range maxTries {
		c.try(l.seq, "")
	}
	c, _ = openTest(t, dir)
	if l := c.load(); l != nil {
		t.Errorf("the last one was tried in vain, and is tried again: %s", versionOf(l))
	}
	// A new set is not taken for one that was tried.
	c.save(sample(t, "9"), time.Time{}, proof)
	c, _ = openTest(t, dir)
	if got := versionOf(c.load()); got != "9" {
		t.Errorf("loaded %s", got)
	}
}

func TestCacheBadTrial(t *testing.T) {
	dir, _ := twoGenerations(t)
	write(t, filepath.Join(dir, "trial"), []byte(`{"set": "x"`), 0o600)
	c, log := openTest(t, dir)
	if got := versionOf(c.load()); got != "2" || !strings.Contains(log.String(), "passed over") {
		t.Errorf("loaded %s, logged %s", got, log)
	}
}

// TestCacheKilled kills a process that writes set after set, at any moment.
func TestCacheKilled(t *testing.T) {
	if dir := os.Getenv("WEFT_CACHE_WRITER"); dir != "" {
		c, _ := openTest(t, dir)
		c.load()
		for i := 0; ; i++ {
			k := sample(t, fmt.Sprint(i))
			k[clusters].resources[0].Resource.Value = bytes.Repeat([]byte{byte(i)}, 100_000)
			c.save(k, time.Now(), -1)
			c.try(uint64(i), "")
			if c.status().Fault != "" {
				panic(c.status().Fault)
			}
			if i == 0 {
				_, _ = os.Stdout.WriteString("writing\n")
			}
		}
	}
	dir := filepath.Join(t.TempDir(), "xds")
	for range 30 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestCacheKilled$")
		cmd.Env = append(os.Environ(), "WEFT_CACHE_WRITER="+dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil { // it has written one
			t.Fatal(err)
		}
		<-time.After(rand.N(20 * time.Millisecond)) // the moment is by chance
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		c, log := openTest(t, dir)
		if l := c.load(); l == nil || log.Len() > 0 {
			t.Fatalf("loaded %s, logged %s", versionOf(l), log)
		}
		if files := left(t, dir, ".*"); len(files) > 0 {
			t.Errorf("left by the killed: %v", files)
		}
	}
	if files := left(t, dir, "*"); len(files) > 6 {
		t.Errorf("there are %v", files)
	}
}

// TestCacheDisk fills and locks a small disk.
func TestCacheDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // for good: the thread has mounts of its own
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Fatalf("a mount namespace (root?): %v", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("weft", dir, "tmpfs", 0, "size=1m,mode=0700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	xds, filler := filepath.Join(dir, "xds"), filepath.Join(dir, "filler")
	c, log := openTest(t, xds)
	c.save(sample(t, "1"), time.Time{}, proof)
	big := func(version string) *kept {
		k := sample(t, version)
		k[routes].resources[0].Resource.Value = bytes.Repeat([]byte{1}, 200_000)
		return k
	}
	fill, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = fill.Write(make([]byte, 4096))
	}
	_ = fill.Close()
	for v := range 3 {
		c.save(big(fmt.Sprint(v)), time.Time{}, proof)
	}
	if !strings.Contains(c.status().Fault, "no space left") || strings.Count(log.String(), "not kept") != 1 {
		t.Errorf("status %+v, logged %s", c.status(), log)
	}
	again, _ := openTest(t, xds)
	if got := versionOf(again.load()); got != "1" {
		t.Errorf("on a full disk loaded %s", got)
	}
	if got := []bool{again.try(1, ""), again.try(1, ""), again.try(1, "")}; !slices.Equal(got, []bool{true, true, false}) {
		t.Errorf("tries are not counted on a full disk: %v", got)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	c.save(big("2"), time.Time{}, proof)
	if c.status().Fault != "" || !strings.Contains(log.String(), "again") {
		t.Errorf("with space again: status %+v, logged %s", c.status(), log)
	}
	if err := unix.Mount("weft", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, "size=1m"); err != nil {
		t.Fatal(err)
	}
	c.save(sample(t, "3"), time.Time{}, proof)
	if !strings.Contains(c.status().Fault, "read-only") {
		t.Errorf("status %+v", c.status())
	}
	again, _ = openTest(t, xds)
	if got := versionOf(again.load()); got != "2" {
		t.Errorf("on a read-only disk loaded %s", got)
	}
	if files := left(t, xds, "*"); slices.ContainsFunc(files, func(f string) bool { return strings.Contains(f, ".bad-") }) {
		t.Errorf("good files were moved aside: %v", files)
	}
}

// An Envoy that comes again, to an agent that was killed and started, has lived.
func TestSameEnvoyIsTriedOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "xds")
	for range 5 {
		c, _ := openTest(t, dir)
		if !c.try(1, "7@1000") {
			t.Fatal("an Envoy that lives was counted as one that died")
		}
	}
	c, _ := openTest(t, dir)
	if !c.try(1, "8@1001") || c.try(1, "9@1002") {
		t.Error("the second Envoy may try, the third may not")
	}
}
