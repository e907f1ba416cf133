//go:build linux

package envoy_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/pkg/envoy"
)

// forOthers is Envoy where every user can run it, in a folder through which he
// gets.
func forOthers(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "envoy")
	if err := errors.Join(os.Chmod(dir, 0o711), os.Link(envoytest.Binary(t), path)); err == nil {
		return path
	}
	from, err := os.Open(envoytest.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); errors.Join(err, to.Close()) != nil {
		t.Fatal(err)
	}
	return path
}

// TestUser has Envoy run as one user after another, under load: each takes over
// from the one before, may do what it must and no more, and keeps others out.
func TestUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can run Envoy as another user, and this is user", os.Geteuid())
	}
	workload := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer workload.Close()
	at := freePort(t)
	dir := envoytest.Dir(t)
	cfg := envoy.Config{
		Binary: forOthers(t, dir), Dir: filepath.Join(dir, "work"), Concurrency: 1, DrainTime: -1, ChangeTime: 2 * time.Second,
	}
	cfg.AdminSocket = filepath.Join(cfg.Dir, envoy.Home, "admin.sock")
	cfg.Bootstrap = envoy.Fixed(document(t, cfg, forward(at, workload.Listener.Addr())))
	const bindLow, netAdmin = 10, 12
	var before envoy.Status
	var stop func() []string
	for i, step := range []struct {
		user *envoy.User
		caps string // effective, hexadecimal
	}{
		{nil, ""},
		{&envoy.User{UID: 61001, GID: 61001, Capabilities: []int{bindLow, netAdmin}}, "1400"},
		{&envoy.User{UID: 61002, GID: 61002, Capabilities: []int{bindLow}}, "400"},
		{&envoy.User{UID: 61002, GID: 61002}, "0"},
		{nil, ""},
	} {
		cfg.User = step.user
		r := runAs(t, cfg)
		within(t, 20*time.Second, func() error {
			now := r.Status()
			if now.PID == 0 || now.PID == before.PID || now.Epoch != i {
				return fmt.Errorf("status %+v", now)
			}
			return r.admin.Ready(t.Context())
		})
		now := r.Status()
		want, name := 0, "root"
		if step.user != nil {
			want, name = step.user.UID, step.user.String()
		}
		if now.User != name {
			t.Errorf("status says user %q, want %q", now.User, name)
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", now.PID))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{fmt.Sprintf(`Uid:\t%d\t%[1]d\t%[1]d\t%[1]d`, want), fmt.Sprintf(`Gid:\t%d\t%[1]d\t%[1]d\t%[1]d`, want)} {
			if !regexp.MustCompile(line).Match(status) {
				t.Errorf("process %d is not as wanted (%s):\n%s", now.PID, line, status)
			}
		}
		if step.user != nil {
			for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapAmb"} {
				if !regexp.MustCompile(set + `:\t0*` + step.caps + `\n`).Match(status) {
					t.Errorf("%s is not %s:\n%s", set, step.caps, status)
				}
			}
			if !strings.Contains(string(status), "Groups:\t \n") || !strings.Contains(string(status), "NoNewPrivs:\t1\n") {
				t.Errorf("it has groups, or may gain privileges:\n%s", status)
			}
		}
		if i > 0 {
			within(t, 10*time.Second, func() error { return gone(before.PID) })
		} else {
			stop, _ = calls(t, at.String())
		}
		within(t, 10*time.Second, func() error { return closed(cfg, want) })
		r.release()
		if err := r.ended(t); err != nil {
			t.Fatal(err)
		}
		again := runAs(t, cfg)
		if s := again.ready(t); s.PID != now.PID {
			t.Errorf("taken back is %+v, want pid %d", s, now.PID)
		}
		again.release()
		if err := again.ended(t); err != nil {
			t.Fatal(err)
		}
		before = now
	}
	if failed := stop(); len(failed) > 0 {
		t.Errorf("%d calls failed: %v", len(failed), failed[:min(3, len(failed))])
	}
}

// closed tells whether nobody but root and that user can open what Envoy has.
func closed(cfg envoy.Config, uid int) error {
	return filepath.WalkDir(cfg.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		owner := int(info.Sys().(*syscall.Stat_t).Uid)
		mode := info.Mode().Perm()
		switch {
		case path == cfg.Dir:
			if owner != 0 || mode != 0o711 && mode != 0o700 {
				return fmt.Errorf("%s is user %d's, mode %o", path, owner, mode)
			}
		case strings.HasPrefix(path, filepath.Join(cfg.Dir, envoy.Home)+"/"): // behind a closed door
		case strings.HasPrefix(d.Name(), "bootstrap-") && mode == 0o600: // that of the former stays for a while
		case mode&0o077 != 0, owner != 0 && owner != uid:
			return fmt.Errorf("%s is user %d's, mode %o", path, owner, mode)
		}
		return nil
	})
}

// TestUserWhoCannotGetThere tells which folder keeps Envoy's user out, and that
// it is he who may not run the binary.
func TestUserWhoCannotGetThere(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can run Envoy as another user, and this is user", os.Geteuid())
	}
	somebody := &envoy.User{UID: 61001, GID: 61001}
	dir := envoytest.Dir(t)
	shut := filepath.Join(dir, "shut")
	if err := os.Mkdir(shut, 0o700); err != nil {
		t.Fatal(err)
	}
	open := forOthers(t, dir)
	for _, c := range []struct{ binary, dir, want string }{
		{open, filepath.Join(shut, "work"), "cannot get through " + shut + ": chmod o+x"},
		{filepath.Join(shut, "envoy"), filepath.Join(dir, "work"), "user 61001, whom it is to run as, may not run it: chmod a+rx"},
	} {
		if c.binary != open {
			if err := os.Link(open, c.binary); err != nil {
				t.Fatal(err)
			}
		}
		p := envoy.New(envoy.Config{Binary: c.binary, Dir: c.dir, User: somebody, AdminSocket: filepath.Join(dir, "admin.sock"), Bootstrap: envoy.Fixed([]byte("{}"))})
		if err := p.Run(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Run = %v, want %s", err, c.want)
		}
	}
}
