//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/pkg/api"
)

func authorities(t *testing.T, m *testmesh.Mesh) (a api.MeshAuthorities) {
	t.Helper()
	out := m.Ctl(t, "ca", "status", "-o", "json")
	if err := json.Unmarshal([]byte(out), &a); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return a
}

// workloadOf is who signed a host's certificate, and whom it believes.
func workloadOf(t *testing.T, h *testmesh.Host) (issuer string, roots []string) {
	t.Helper()
	out, _ := h.Agent(t, "status", "-o", "json")
	var s struct {
		Workloads []struct {
			Identity struct {
				Workload struct{ Issuer string }
				Roots    []string
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &s); err != nil || len(s.Workloads) == 0 {
		t.Fatalf("status: %v\n%s", err, out)
	}
	id := s.Workloads[0].Identity
	return id.Workload.Issuer, id.Roots
}

func awaitStage(t *testing.T, m *testmesh.Mesh, stage string) {
	t.Helper()
	testmesh.Eventually(t, "the rotation is in stage "+stage, func() error {
		is := "over"
		r := authorities(t, m).Rotation
		if r != nil {
			is = r.Stage
		}
		if is != stage {
			return fmt.Errorf("it is in stage %s: %+v", is, r)
		}
		return nil
	})
}

// TestAuthorityRotates exchanges a mesh's authority under load, with the control
// plane killed in each stage, one host offline all the while, and a thief who
// holds a certificate of the old authority.
func TestAuthorityRotates(t *testing.T) {
	l, whole := newLife(t), t // what a step starts is to outlive it
	late := l.Join(t, "late")
	testmesh.ServeMixed(t, late.Host, "127.0.0.1:8080")
	l.Allow(t, "web", "late")
	l.web.WaitAnswer(t, "http://late.mesh/")

	before := authorities(t, l.Mesh)
	thief := l.Net.Host("thief")
	stolen := filepath.Join(t.TempDir(), "workload.pem")
	data, err := os.ReadFile(filepath.Join(l.web.Dir, "state", "workload.pem"))
	if err == nil {
		err = os.WriteFile(stolen, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	steal := func() (string, error) {
		return thief.TryRun(t, "curl", "--silent", "--show-error", "--insecure", "--max-time", "5", "--cert", stolen, "--key", stolen,
			fmt.Sprintf("https://%s:8080/", l.api.IP4))
	}
	if out, err := steal(); err != nil || out != "ok" {
		t.Fatalf("a certificate of the mesh is not let in before the rotation: %v %q", err, out)
	}
	late.AgentProgram().Stop(t)

	l.step(t, "the new root spreads", 0, func(t *testing.T) {
		l.Ctl(t, "ca", "rotate", "--wait", "2s", "--patience", "4s")
		if out, err := l.TryCtl(t, "ca", "rotate"); err == nil || !strings.Contains(out, "under way since before") {
			t.Errorf("a second rotation: %v\n%s", err, out)
		}
		testmesh.Eventually(t, "all hosts that are there have both roots", func() error {
			for _, h := range []*testmesh.Host{l.web, l.api, l.rpc} {
				if issuer, roots := workloadOf(t, h); len(roots) != 2 || issuer != before.Issuer {
					return fmt.Errorf("%s has roots %q and a certificate by %s", h.Service, roots, issuer)
				}
			}
			return nil
		})
		l.StopControlPlane(t)
		l.StartControlPlane(whole)
	})
	l.step(t, "certificates are made anew", 0, func(t *testing.T) {
		awaitStage(t, l.Mesh, "renew")
		now := authorities(t, l.Mesh)
		if now.Issuer == before.Issuer {
			t.Error("the old authority signs")
		}
		l.StopControlPlane(t)
		l.StartControlPlane(whole)
		testmesh.Eventually(t, "all hosts that are there have new certificates", func() error {
			for _, h := range []*testmesh.Host{l.web, l.api, l.rpc} {
				if issuer, _ := workloadOf(t, h); issuer != now.Issuer {
					return fmt.Errorf("%s has a certificate by %s", h.Service, issuer)
				}
			}
			return nil
		})
		if out, err := l.TryCtl(t, "ca", "abort"); err == nil || !strings.Contains(out, "let it finish") {
			t.Errorf("given up too late: %v\n%s", err, out)
		}
	})
	l.step(t, "the old root goes", 0, func(t *testing.T) {
		awaitStage(t, l.Mesh, "over")
		now := authorities(t, l.Mesh)
		testmesh.Eventually(t, "all hosts that are there believe the new root alone", func() error {
			for _, h := range []*testmesh.Host{l.web, l.api, l.rpc} {
				if _, roots := workloadOf(t, h); len(roots) != 1 || roots[0] != now.Issuer {
					return fmt.Errorf("%s has roots %q", h.Service, roots)
				}
			}
			return nil
		})
		testmesh.Eventually(t, "a certificate of the old authority is refused", func() error {
			if out, err := steal(); err == nil {
				return fmt.Errorf("it is answered: %s", out)
			}
			return nil
		})
	})
	l.step(t, "the host that was offline comes back by its own certificate", 0, func(t *testing.T) {
		late.StartAgent(t)
		late.WaitWell(t)
		l.web.WaitAnswer(t, "http://late.mesh/")
		if issuer, roots := workloadOf(t, late); issuer == before.Issuer || len(roots) != 1 {
			t.Errorf("it has roots %q and a certificate by %s", roots, issuer)
		}
	})
}
