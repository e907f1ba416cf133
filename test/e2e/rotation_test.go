//go:build linux

package e2e

import (
	"encoding/base64"
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
	t.Parallel()              // it waits most of the time
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

// TestAuthorityIsReplaced moves a mesh under load from its builtin authority to
// one that its owner brought, which is RSA and below a root of its own, and
// tries what would cut hosts off.
func TestAuthorityIsReplaced(t *testing.T) {
	t.Parallel() // it waits most of the time
	l := newLife(t)
	dir := t.TempDir()
	l.CP.Run(t, "sh", "-ec", `cd `+dir+`
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=root -days 2 -addext keyUsage=critical,keyCertSign,cRLSign -keyout root.key -out root.crt
openssl req -newkey rsa:2048 -nodes -subj /CN=below -keyout ca.key -out ca.csr
printf 'basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n' > ext
openssl x509 -req -in ca.csr -CA root.crt -CAkey root.key -CAcreateserial -days 1 -extfile ext -out ca.crt
cat ca.crt root.crt > chain.crt`)
	secret := func(name, file string) string {
		data, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("type: Secret\nmesh: default\nname: %s\ndata: %s\n---\n", name, base64.StdEncoding.EncodeToString(data))
	}
	const ours, theirs = "  - {name: ca-1, type: builtin}\n", "  - {name: theirs, type: provided, conf: {cert: {secret: ca-cert}, key: {secret: ca-key}}}\n"
	mtls := func(enabled string, backends ...string) string {
		return "type: Mesh\nname: default\nmtls:\n  enabledBackend: " + enabled + "\n  backends:\n" + strings.Join(backends, "")
	}
	refused := func(t *testing.T, yaml, why string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "mesh.yaml")
		if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := l.TryCtl(t, "apply", "-f", path); err == nil || !strings.Contains(out, why) {
			t.Errorf("%v, want %q\n%s", err, why, out)
		}
	}
	all := func(t *testing.T, what string, well func(api.AuthorityFollowers) int) {
		t.Helper()
		testmesh.Eventually(t, what, func() error {
			if h := authorities(t, l.Mesh).Hosts; h.Connected != 3 || well(h) != 3 {
				return fmt.Errorf("%+v", h)
			}
			return nil
		})
	}
	trusting := func(h api.AuthorityFollowers) int { return h.Trusting }
	certified := func(h api.AuthorityFollowers) int { return h.Certified }

	l.step(t, "another authority is known", 0, func(t *testing.T) {
		refused(t, mtls("theirs", ours, theirs), "cannot change from")
		l.Apply(t, secret("ca-cert", "chain.crt")+secret("ca-key", "ca.key"))
		l.Apply(t, mtls("ca-1", ours, theirs))
		all(t, "all hosts believe both", trusting)
	})
	l.step(t, "it signs", 0, func(t *testing.T) {
		refused(t, mtls("theirs", theirs), `cannot lose "ca-1" yet`)
		l.Apply(t, mtls("theirs", ours, theirs))
		all(t, "all hosts have its certificates", certified)
	})
	l.step(t, "the first one goes", 0, func(t *testing.T) {
		l.Apply(t, mtls("theirs", theirs))
		testmesh.Eventually(t, "hosts believe the new root alone", func() error {
			for _, h := range []*testmesh.Host{l.web, l.api, l.rpc} {
				if _, roots := workloadOf(t, h); len(roots) != 1 {
					return fmt.Errorf("%s has roots %q", h.Service, roots)
				}
			}
			return nil
		})
		if a := authorities(t, l.Mesh); len(a.Backends) != 1 || a.Backends[0].Algorithm != "RSA" || a.Issuer != a.Backends[0].Fingerprint {
			t.Errorf("%+v", a)
		}
		if out, err := l.TryCtl(t, "ca", "rotate"); err == nil || !strings.Contains(out, "is a provided authority") {
			t.Errorf("%v\n%s", err, out)
		}
	})
}
