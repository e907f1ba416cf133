//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/internal/testmesh"
)

// TestUnprivilegedAgent has agent and Envoy run as a user that is not root: with
// CAP_NET_ADMIN the host is redirected, and without any capability explicit
// outbounds work.
func TestUnprivilegedAgent(t *testing.T) {
	m := testmesh.New(t)
	api := m.Join(t, "api")
	service(t, api, "0.0.0.0")
	for _, c := range []struct {
		service, caps string
		args          []string
		url           string
	}{
		{"web", "-all,+net_admin", nil, "http://api.mesh/"},
		{"batch", "-all", []string{"--redirect=false", "--outbound", "10001=api"}, "http://127.0.0.1:10001/"},
	} {
		t.Run(c.service, func(t *testing.T) {
			h := m.NewHost(t, c.service)
			h.OutliveNot(t)
			program, envoy := forOthers(t, h.Dir, testmesh.Binary(t, "weft-agent")), forOthers(t, h.Dir, envoytest.Binary(t))
			as := []string{"--reuid", "daemon", "--regid", "daemon", "--clear-groups", "--no-new-privs", "--bounding-set", c.caps, "--inh-caps", c.caps, "--ambient-caps", c.caps, program}
			m.Allow(t, c.service, "api")
			h.Run(t, "setpriv", append(append(as, h.JoinArgs(t, m.JoinToken(t, c.service), "--envoy", envoy)...), c.args...)...)
			agent := testmesh.Start(t, h.Host, "setpriv", append(as, "run", "--config", h.Config())...)
			h.WaitWell(t)
			h.WaitAnswer(t, c.url)
			for _, pid := range []int{agent.PID(), h.Status(t).Envoy.PID} {
				status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
				if err != nil {
					t.Fatal(err)
				}
				for line := range strings.Lines(string(status)) {
					words := strings.Fields(line)
					if words[0] == "Uid:" && (words[1] == "0" || words[2] == "0") {
						t.Errorf("process %d runs as root: %s", pid, line)
					}
					if words[0] == "CapEff:" && strings.Trim(words[1], "0") != strings.Trim(map[string]string{"-all": "", "-all,+net_admin": "1000"}[c.caps], "0") {
						t.Errorf("process %d may do more than it must: %s", pid, line)
					}
				}
			}
			if out, err := h.TryRun(t, "setpriv", append(as, "doctor", "--config", h.Config())...); err == nil || strings.Contains(out, "rights") {
				t.Errorf("doctor, as the same user: %v\n%s", err, out) // but for the resolver, all is well
			}
			if out, err := h.TryRun(t, "setpriv", append(as, "leave", "--config", h.Config())...); err != nil {
				t.Errorf("leave: %v\n%s", err, out)
			}
		})
	}
}

// forOthers puts a program where every user can run it, and gives the folder to
// the user daemon.
func forOthers(t *testing.T, dir, program string) string {
	t.Helper()
	daemon, err := user.Lookup("daemon")
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.Atoi(daemon.Uid)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, filepath.Base(program))
	if err := errors.Join(os.Chown(dir, uid, uid), os.Link(program, copied)); err == nil {
		return copied
	}
	from, err := os.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(copied, os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); errors.Join(err, to.Close()) != nil {
		t.Fatal(err)
	}
	return copied
}
