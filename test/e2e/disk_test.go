//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testmesh"
)

// TestLifeOnAFullDisk has the disks under the agents' state full, and then
// read-only, while certificates are renewed and policies change under load:
// calls go on, what is new is in force and held in memory, it is told, and when
// there is room all is well by itself. (F09)
func TestLifeOnAFullDisk(t *testing.T) {
	t.Parallel() // it waits most of the time
	m := testmesh.New(t)
	lives(t, m, "10s", "GRACE")
	l := &life{Mesh: m}
	state := func(h *testmesh.Host) string { return filepath.Join(h.Dir, "state") }
	join := func(service string, args ...string) *testmesh.Host {
		t.Helper()
		h := m.NewHost(t, service)
		if err := os.Mkdir(state(h), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("weft-test", state(h), "tmpfs", 0, "size=4m,mode=0700"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(state(h), syscall.MNT_DETACH) })
		h.JoinMesh(t, m.JoinToken(t, service), append([]string{"--change-time", "10m"}, args...)...) // policies change here
		h.StartAgent(t)
		h.WaitWell(t)
		return h
	}
	l.web, l.api, l.rpc = join("web"), join("api"), join("rpc", "--protocol", "grpc")
	hosts := []*testmesh.Host{l.web, l.api, l.rpc}
	for _, h := range hosts[1:] {
		testmesh.ServeMixed(t, h.Host, "127.0.0.1:8080")
		l.Allow(t, "web", h.Service)
	}
	l.web.WaitAnswer(t, "http://api.mesh/")
	l.load = testmesh.StartMixed(t, l.web, testmesh.Targets{HTTP: "api.mesh", GRPC: "rpc.mesh"})
	l.load.AwaitMore(t, 10)

	tells := func(t *testing.T, h *testmesh.Host, of string, words ...string) {
		t.Helper()
		testmesh.Eventually(t, of+" of "+h.Name+" tells", func() error {
			out, err := h.Agent(t, of)
			for _, w := range words {
				if err == nil || !strings.Contains(out, w) {
					return fmt.Errorf("%q is not in, or it is well (%w):\n%s", w, err, out)
				}
			}
			return nil
		})
	}
	whole := t
	var last map[string]time.Time
	l.step(t, "full: certificates are renewed, a policy changes, and it is told", 0, func(t *testing.T) {
		for _, h := range hosts {
			filling := filepath.Join(state(h), "filling")
			if err := os.WriteFile(filling, make([]byte, 4<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("fill the disk of %s: %v", h.Name, err)
			}
		}
		for range 2 {
			last = l.certificates(t, last)
		}
		for _, h := range hosts {
			tells(t, h, "status", "the newest certificates are not on disk", "no space left on device")
			tells(t, h, "doctor", state(h)+" has 0 MiB left")
		}
		l.Ctl(t, "delete", "traffic-permission", "web-to-api")
		testmesh.Eventually(t, "the call is denied", func() error {
			if code, _, _ := l.web.Curl(t, "http://api.mesh/"); code != "503" {
				return fmt.Errorf("code %s", code)
			}
			return nil
		})
		l.Allow(t, "web", "api")
		l.web.WaitAnswer(t, "http://api.mesh/")
		l.load.AwaitMore(t, 20)
		l.load.Take() // what was denied
	})
	l.step(t, "full still, agents killed and started", 0, func(t *testing.T) {
		for _, h := range hosts {
			envoys := h.Envoys(t)
			h.AgentProgram().Kill(t)
			h.StartAgent(whole)
			tells(t, h, "doctor", state(h)+" has 0 MiB left")
			if now := h.Envoys(t); len(now) != 1 || now[0] != envoys[0] {
				t.Errorf("%s has Envoys %v, and had %v", h.Name, now, envoys)
			}
		}
		last = l.certificates(t, last)
	})
	l.step(t, "room again: well without a hand", 0, func(t *testing.T) {
		for _, h := range hosts {
			if err := os.Remove(filepath.Join(state(h), "filling")); err != nil {
				t.Fatal(err)
			}
		}
		for _, h := range hosts {
			h.WaitWell(t)
		}
	})
	l.step(t, "read-only, when agents start", 0, func(t *testing.T) {
		for _, h := range hosts {
			h.AgentProgram().Kill(t)
			err := syscall.Mount("", state(h), "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
			if err == nil { // the disk, and not the mount, of which each program has its own
				err = syscall.Mount("", state(h), "", syscall.MS_REMOUNT|syscall.MS_BIND, "")
			}
			if err != nil {
				t.Fatal(err)
			}
			h.StartAgent(whole)
		}
		last = l.certificates(t, last)
		for _, h := range hosts {
			tells(t, h, "status", "the newest certificates are not on disk", "read-only file system")
			tells(t, h, "doctor", state(h)+" cannot be written")
		}
	})
	l.step(t, "to be written again: well without a hand", 0, func(t *testing.T) {
		for _, h := range hosts {
			if err := syscall.Mount("", state(h), "", syscall.MS_REMOUNT, "size=4m,mode=0700"); err != nil {
				t.Fatal(err)
			}
		}
		for _, h := range hosts {
			h.WaitWell(t)
		}
	})
}
