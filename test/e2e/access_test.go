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
)

// TestAccess is a day of an administrator: a role for a team, a user's token,
// one that was signed elsewhere, one that is revoked, keys that are exchanged, a
// client's certificate; and what of it is on disk.
func TestAccess(t *testing.T) {
	dir := t.TempDir()
	ctl := testmesh.Binary(t, "weftctl")
	m := testmesh.New(t)
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := write("key.pem", m.Ctl(t, "generate", "signing-key"))
	public := write("key.pub", m.Ctl(t, "generate", "public-key", "--signing-key-path", key))
	m.CP.Run(t, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=admin", "-days", "1",
		"-keyout", filepath.Join(dir, "client.key"), "-out", filepath.Join(dir, "client.crt"))
	certs := filepath.Join(dir, "certs")
	m.CP.Run(t, "sh", "-ec", fmt.Sprintf("mkdir %s; cp %s/client.crt %[1]s", certs, dir))
	m.RestartControlPlane(t, "--token-public-keys", "user:ci="+public, "--api-client-certs", certs, "--access-view-config-dump-groups", "lookers")

	m.Apply(t, `type: Mesh
name: team
---
type: Secret
mesh: team
name: canary
data: `+base64.StdEncoding.EncodeToString([]byte("a canary that nobody may find"))+`
---
type: AccessRole
name: team
rules:
- mesh: team
  types: ["*"]
  access: ["*", GENERATE_DATAPLANE_TOKEN]
---
type: AccessRoleBinding
name: team
subjects:
- {type: Group, name: team}
roles: [team]
`)
	as := func(token string, args ...string) (string, error) {
		return m.CP.TryRun(t, ctl, append([]string{"--server", fmt.Sprintf("https://%s:5682", m.CP.IP4), "--ca-cert", filepath.Join(m.Dir, "cp", "ca.crt"), "--token-file", write("token", token)}, args...)...)
	}
	may := func(token string, args ...string) {
		t.Helper()
		if out, err := as(token, args...); err != nil {
			t.Errorf("%s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	mayNot := func(token, why string, args ...string) {
		t.Helper()
		if out, err := as(token, args...); err == nil || !strings.Contains(out, why) {
			t.Errorf("%s: %v, want %q\n%s", strings.Join(args, " "), err, why, out)
		}
	}
	id := func(token string) string {
		t.Helper()
		data, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
		var c struct {
			ID string `json:"jti"`
		}
		if err == nil {
			err = json.Unmarshal(data, &c)
		}
		if err != nil {
			t.Fatal(err)
		}
		return c.ID
	}
	joe := strings.TrimSpace(m.Ctl(t, "token", "user", "--name", "joe", "--group", "team", "--valid-for", "1h"))
	ci := strings.TrimSpace(m.Ctl(t, "generate", "user-token", "--name", "ci", "--group", "team", "--valid-for", "1h", "--signing-key-path", key, "--kid", "ci"))
	for _, token := range []string{joe, ci} {
		may(token, "get", "dataplanes", "-m", "team")
		may(token, "token", "dataplane", "-m", "team", "--valid-for", "1h")
		mayNot(token, "Access Denied", "get", "dataplanes", "-m", "default")
		mayNot(token, "Access Denied", "get", "secrets", "-m", "team")
		mayNot(token, "Access Denied", "token", "dataplane", "-m", "default", "--valid-for", "1h")
		mayNot(token, "Access Denied", "token", "user", "--name", "root", "--group", "mesh-system:admin", "--valid-for", "1h")
	}
	m.Ctl(t, "token", "revoke", "user", id(joe))
	mayNot(joe, "it was revoked", "get", "dataplanes", "-m", "team")
	kim := strings.TrimSpace(m.Ctl(t, "token", "user", "--name", "kim", "--group", "team", "--valid-for", "1h"))
	m.Ctl(t, "token", "rotate-key", "user")
	may(kim, "get", "dataplanes", "-m", "team")
	m.Ctl(t, "token", "drop-key", "user", "1")
	mayNot(kim, "was not signed", "get", "dataplanes", "-m", "team")

	who := func(args ...string) string {
		out, err := m.CP.TryRun(t, "curl", append([]string{"--silent", "--show-error", "--cacert", filepath.Join(m.Dir, "cp", "ca.crt"), fmt.Sprintf("https://%s:5682/who-am-i", m.CP.IP4)}, args...)...)
		if err != nil {
			t.Errorf("curl: %v\n%s", err, out)
		}
		return out
	}
	if out := who("--cert", filepath.Join(dir, "client.crt"), "--key", filepath.Join(dir, "client.key")); !strings.Contains(out, "mesh-system:admin") {
		t.Errorf("with the administrator's certificate: %s", out)
	}
	if out := who(); !strings.Contains(out, "401") {
		t.Errorf("without a certificate: %s", out)
	}

	// The key of secrets is exchanged while the control plane runs.
	rotated, err := m.CP.TryRun(t, testmesh.Binary(t, "weft-cp"), "key", "rotate", "--data-dir", filepath.Join(m.Dir, "cp"))
	if err != nil || !strings.Contains(rotated, "the control plane that runs seals all secrets") {
		t.Errorf("key rotate: %v\n%s", err, rotated)
	}
	testmesh.Eventually(t, "secrets are sealed by the new key alone", func() error {
		text, err := os.ReadFile(filepath.Join(m.Dir, "cp", "secrets.key"))
		if n := strings.Count(string(text), "\n") - 2; err != nil || n != 1 {
			return fmt.Errorf("%d keys, %w", n, err)
		}
		return nil
	})
	m.StopControlPlane(t)
	m.StartControlPlane(t)
	if out := m.Ctl(t, "get", "secret", "canary", "-m", "team", "-o", "yaml"); !strings.Contains(out, base64.StdEncoding.EncodeToString([]byte("a canary that nobody may find"))) {
		t.Errorf("the secret is\n%s", out)
	}
	m.StopControlPlane(t)

	for _, file := range []string{"weft.db", "weft.db-wal", "audit/audit.jsonl"} {
		data, err := os.ReadFile(filepath.Join(m.Dir, "cp", file))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for _, never := range []string{"nobody may find", "YSBjYW5hcnkgdGhhdCBub2JvZHkg", "PRIVATE KEY", "UFJJVkFURSBLRV", "BSSVZBVEUgS0VZ", "QUklWQVRFIEtFW", joe, ci} {
			if strings.Contains(string(data), never) {
				t.Errorf("%.30q is in %s", never, file)
			}
		}
		for _, want := range []string{`"user":"ci"`, `"outcome":"refused"`, `"kind":"user token"`, `"action":"create","kind":"AccessRole"`} {
			if strings.HasSuffix(file, ".jsonl") && !strings.Contains(string(data), want) {
				t.Errorf("the audit log lacks %s", want)
			}
		}
	}
}
