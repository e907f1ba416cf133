//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/pkg/api"
)

// refused runs a program that must fail with exit code, and say every word.
func refused(t *testing.T, h *testmesh.Host, code int, words []string, name string, args ...string) {
	t.Helper()
	p := testmesh.Start(t, h.Host, testmesh.Binary(t, name), args...)
	if got := p.Wait(t); got != code {
		t.Errorf("%s ended with %d, want %d", name, got, code)
	}
	for _, w := range words {
		if !strings.Contains(p.Output(), w) {
			t.Errorf("%s does not say %q, but:\n%s", name, w, p.Output())
		}
	}
}

func changed(t *testing.T, token string, change func(*api.JoinToken)) string {
	t.Helper()
	j, err := api.ParseJoinToken(token)
	if err != nil {
		t.Fatal(err)
	}
	change(&j)
	return j.String()
}

// TestJoinRefuses shows that a join that cannot be is refused with words, and
// leaves nothing on the host.
func TestJoinRefuses(t *testing.T) {
	m := testmesh.New(t)
	h := m.NewHost(t, "web")
	m.Apply(t, "type: Mesh\nname: second\n")
	good := m.JoinToken(t, "web")
	revoked := strings.TrimSpace(m.Ctl(t, "join-token", "--tag", "kuma.io/service=web", "--address", m.CP.IP4.String()+":5678", "--valid-for", "1s"))

	tests := []struct {
		name  string
		token string
		args  []string
		code  int
		words []string
	}{
		{"no join token", "eyJhbGciOi", nil, 1, []string{"weftctl join-token"}},
		{"cut short", good[:len(good)-20], nil, 1, []string{"copy the whole word again"}},
		{"token of another mesh", changed(t, good, func(j *api.JoinToken) { j.Mesh = "second" }), nil, 1, []string{"mesh"}},
		{"mesh that the token is not of", good, []string{"--mesh", "second"}, 1, []string{`the token is of mesh "default"`}},
		{"wrong signature", changed(t, good, func(j *api.JoinToken) { j.Token = j.Token[:len(j.Token)-8] + "AAAAAAAA" }), nil, 1, []string{"not signed by mesh"}},
		{"hash of another authority", changed(t, good, func(j *api.JoinToken) { j.Authority = strings.Repeat("ab", 32) }), nil, 1, []string{"authority"}},
		{"control plane absent", changed(t, good, func(j *api.JoinToken) { j.Addresses = []string{m.CP.IP4.String() + ":5999"} }), nil, 1, []string{m.CP.IP4.String() + ":5999", "refused"}},
		{"service that the token does not allow", good, []string{"--service", "api"}, 1, []string{"kuma.io/service", `"api"`}},
		{"no service", good, []string{"--service", ""}, 1, []string{"--service web"}},
		{"unknown protocol", good, []string{"--protocol", "gopher"}, 1, []string{"gopher", "grpc"}},
		{"everything at once", good, []string{"--port", "0", "--protocol", "gopher", "--address", "nowhere"}, 1, []string{"port:", "protocol:", "address:"}},
		{"unknown flag", good, []string{"--prot", "http"}, 2, []string{"--prot"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			refused(t, h, tt.code, tt.words, "weft-agent", h.JoinArgs(t, tt.token, tt.args...)...)
			if _, err := os.Stat(h.Config()); err == nil {
				t.Error("a configuration was written")
			}
			if _, err := os.Stat(filepath.Join(h.Dir, "state", "agent.pem")); err == nil {
				t.Error("an identity was written")
			}
		})
	}
	t.Run("expired", func(t *testing.T) {
		testmesh.Eventually(t, "the token has expired", func() error {
			out, err := h.TryRun(t, testmesh.Binary(t, "weft-agent"), h.JoinArgs(t, revoked)...)
			if err == nil || !strings.Contains(out, "expired") {
				return fmt.Errorf("join said %q", out)
			}
			return nil
		})
	})
}

// TestAgentRefuses shows what an agent says that cannot run.
func TestAgentRefuses(t *testing.T) {
	m := testmesh.New(t)
	h := m.Join(t, "web")
	arm := filepath.Join(t.TempDir(), "envoy-arm64")
	elf := make([]byte, 64)
	copy(elf, "\x7fELF\x02\x01\x01")
	elf[16], elf[18] = 2, 183 // an executable for AArch64
	if err := os.WriteFile(arm, elf, 0o755); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) []string { return append([]string{"run", "--config", h.Config()}, args...) }
	t.Run("second agent on the same files", func(t *testing.T) {
		refused(t, h, 1, []string{fmt.Sprintf("pid %d", h.AgentProgram().PID()), "--state-dir"}, "weft-agent", run()...)
	})
	h.AgentProgram().Stop(t)
	t.Run("no Envoy", func(t *testing.T) {
		refused(t, h, 1, []string{"/nowhere/envoy"}, "weft-agent", run("--envoy", "/nowhere/envoy")...)
	})
	t.Run("Envoy of another machine", func(t *testing.T) {
		refused(t, h, 1, []string{arm, "arm64"}, "weft-agent", run("--envoy", arm)...)
	})
	t.Run("name of another dataplane", func(t *testing.T) {
		refused(t, h, 1, []string{"other-1", "join again"}, "weft-agent", run("--name", "other-1")...)
	})
	t.Run("not joined", func(t *testing.T) {
		refused(t, h, 2, []string{"weft-agent join TOKEN"}, "weft-agent", "run", "--config", filepath.Join(h.Dir, "none.yaml"))
	})
	t.Run("unknown setting", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "agent.yaml")
		if err := os.WriteFile(file, []byte("meesh: default\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, h, 2, []string{"meesh: unknown setting"}, "weft-agent", "run", "--config", file)
	})
	t.Run("may not change the network", func(t *testing.T) {
		out, err := h.TryRun(t, "setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", testmesh.Binary(t, "weft-agent"), "run", "--config", h.Config())
		if err == nil || !strings.Contains(out, "CAP_NET_ADMIN") {
			t.Errorf("error %v, output:\n%s", err, out)
		}
	})
	t.Run("port of the DNS server in use", func(t *testing.T) {
		h.ListenUDP(t, "127.0.0.1:15053")
		refused(t, h, 1, []string{"127.0.0.1:15053"}, "weft-agent", run()...)
	})
}

// TestControlPlaneRefuses shows what a control plane says that cannot run.
func TestControlPlaneRefuses(t *testing.T) {
	m := testmesh.New(t)
	h := &testmesh.Host{Host: m.CP, Service: "cp"}
	dir := envoytest.Dir(t)
	args := func(more ...string) []string {
		return append([]string{"run", "--data-dir", filepath.Join(dir, "data"), "--api-socket", filepath.Join(dir, "api.sock")}, more...)
	}
	free := []string{"--hosts-address", ":6678", "--api-address", "127.0.0.1:6681", "--api-tls-address", ":6682", "--diagnostics-address", "127.0.0.1:6680"}
	tests := []struct {
		name  string
		args  []string
		code  int
		words []string
	}{
		{"port in use", args(), 1, []string{":5678 is in use", "--hosts-address"}},
		{"data dir of another", args(append(free, "--data-dir", filepath.Join(m.Dir, "cp"))...), 1, []string{filepath.Join(m.Dir, "cp")}},
		{"data dir not writable", args(append(free, "--data-dir", "/proc/weft")...), 1, []string{"/proc/weft"}},
		{"socket of another", args(append(free, "--api-socket", filepath.Join(m.Dir, "api.sock"))...), 1, []string{"in use by another control plane"}},
		{"everything wrong at once", args("--data-dir", "here", "--hosts-address", "5678", "--dp-auth", "maybe"), 2, []string{"dataDir:", "hostsAddress:", "dpAuth:"}},
		{"unknown command", []string{"serve"}, 2, []string{"serve"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { refused(t, h, tt.code, tt.words, "weft-cp", tt.args...) })
	}
}

// TestAPIRefuses shows what the REST API does with what it cannot take.
func TestAPIRefuses(t *testing.T) {
	m := testmesh.New(t)
	curl := func(t *testing.T, args ...string) (body, code string) {
		t.Helper()
		out, _ := m.CP.TryRun(t, "curl", append([]string{"--silent", "--max-time", "20", "--write-out", "\n%{http_code}"}, args...)...)
		i := strings.LastIndex(out, "\n")
		return out[:max(i, 0)], out[i+1:]
	}
	admin := "@" + filepath.Join(t.TempDir(), "header")
	token, err := os.ReadFile(filepath.Join(m.Dir, "cp", "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(admin[1:], []byte("Authorization: Bearer "+strings.TrimSpace(string(token))+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const url = "http://127.0.0.1:5681/meshes/default/traffic-permissions/x"
	t.Run("without a token nothing is answered", func(t *testing.T) {
		for _, path := range []string{"/", "/meshes", "/meshes/default/dataplanes", "/config", "/nonsense"} {
			if body, code := curl(t, "http://127.0.0.1:5681"+path); code != "401" || !strings.Contains(body, "token") {
				t.Errorf("%s: %s %s", path, code, body)
			}
		}
		if body, code := curl(t, "--cacert", filepath.Join(m.Dir, "cp", "ca.crt"), "https://127.0.0.1:5682/meshes"); code != "401" {
			t.Errorf("HTTPS: %s %s", code, body)
		}
		if _, code := curl(t, "-X", "DELETE", "http://127.0.0.1:5681/meshes/default"); code != "401" {
			t.Errorf("DELETE: %s", code)
		}
	})
	t.Run("the admin token opens it", func(t *testing.T) {
		if body, code := curl(t, "-H", admin, "http://127.0.0.1:5681/meshes"); code != "200" || !strings.Contains(body, `"default"`) {
			t.Errorf("%s %s", code, body)
		}
	})
	t.Run("a body of 100 MB", func(t *testing.T) {
		big := filepath.Join(t.TempDir(), "big")
		f, err := os.Create(big)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(100 << 20); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if body, code := curl(t, "-H", admin, "-X", "PUT", "--upload-file", big, url); code != "413" {
			t.Errorf("%s %s", code, body)
		}
	})
	t.Run("unknown kind, field, type: all told, nothing stored", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "bad.yaml")
		if err := os.WriteFile(file, []byte(`type: Dataplane
mesh: default
name: web-1
networking:
  adress: 192.0.2.1
  inbound:
  - port: many
    tags: {kuma.io/service: web}
---
type: Nonsense
name: x
`), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := m.TryCtl(t, "apply", "-f", file)
		if err == nil {
			t.Fatalf("it was applied:\n%s", out)
		}
		for _, w := range []string{"networking.adress", `"address"`, "networking.inbound[0].port", "Nonsense"} {
			if !strings.Contains(out, w) {
				t.Errorf("it does not say %q:\n%s", w, out)
			}
		}
		if out := m.Ctl(t, "get", "dataplanes"); strings.Contains(out, "web-1") {
			t.Errorf("it was stored:\n%s", out)
		}
	})
	t.Run("a mesh that is not there", func(t *testing.T) {
		body, code := curl(t, "-H", admin, "-X", "PUT", "--data", `{"type":"TrafficPermission","mesh":"nope","name":"x","sources":[{"match":{"kuma.io/service":"*"}}],"destinations":[{"match":{"kuma.io/service":"*"}}]}`,
			"http://127.0.0.1:5681/meshes/nope/traffic-permissions/x")
		if code != "404" || !strings.Contains(body, "Mesh") {
			t.Errorf("%s %s", code, body)
		}
	})
}
