//go:build linux

package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/testmesh"
)

// TestDoctorAndBundle has a host examined while it is well, while its agent and
// its control plane are gone, and what there is written down without a secret.
func TestDoctorAndBundle(t *testing.T) {
	m := testmesh.New(t)
	token := m.JoinToken(t, "web")
	web := m.NewHost(t, "web")
	web.JoinMesh(t, token)
	web.StartAgent(t)
	web.WaitWell(t)
	says := func(out string, words ...string) {
		t.Helper()
		for _, w := range words {
			if !strings.Contains(strings.Join(strings.Fields(out), " "), w) {
				t.Errorf("it does not say %q:\n%s", w, out)
			}
		}
	}
	out, err := web.Agent(t, "doctor")
	if err == nil {
		t.Errorf("a resolver that does not answer is well:\n%s", out)
	}
	says(out, "agent ok", "limits ok", "disk ok", "redirection ok in force by nftables", "envoy ok 1.40.0 serves", "certificate ok spiffe://default/web",
		"control plane ok answers", "clock ok differs from the control plane's by", "resolvers FAULT "+m.CP.IP4.String()+" does not answer")

	secrets := []string{token, token[len(token)-40:]}
	err = filepath.WalkDir(filepath.Join(web.Dir, "state"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		_, keys, _ := strings.Cut(string(text), "PRIVATE KEY-----")
		key, _, _ := strings.Cut(keys, "-----END")
		for line := range strings.Lines(key) {
			if line = strings.TrimSpace(line); len(line) > 20 {
				secrets = append(secrets, line)
			}
		}
		return err
	})
	if err != nil || len(secrets) < 4 {
		t.Fatalf("looked for keys in the state folder: %v, %d found", err, len(secrets)-2)
	}
	look := func(want ...string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "bundle.tar.gz")
		if out, err := web.Agent(t, "bundle", "--to", file); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		pages := unpack(t, file)
		for _, w := range want {
			if _, ok := pages["weft-agent/"+w]; !ok {
				t.Errorf("the bundle lacks %s", w)
			}
		}
		for name, text := range pages {
			for _, s := range secrets {
				if strings.Contains(text, s) {
					t.Errorf("%s has a secret in it", name)
				}
			}
		}
	}
	look("agent.yaml", "doctor.json", "status.json", "agent.log", "resolv.conf", "os-release", "limits", "network.txt", "files.txt", "workloads/web-1/redirection.txt", "workloads/web-1/envoy/config_dump.json", "workloads/web-1/envoy/stats.txt")

	m.StopControlPlane(t)
	web.AgentProgram().Kill(t)
	out, err = web.Agent(t, "doctor")
	if err == nil {
		t.Errorf("a host without agent and control plane is well:\n%s", out)
	}
	says(out, "agent FAULT does not run -> systemctl start weft-agent", "control plane FAULT", "certificate ok")
	look("agent.yaml", "doctor.json", "agent.log.missing", "limits.missing", "files.txt")
}

func unpack(t *testing.T, file string) map[string]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string]string{}
	for in := tar.NewReader(zip); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return pages
		}
		var text bytes.Buffer
		if err == nil {
			_, err = io.Copy(&text, in)
		}
		if err != nil {
			t.Fatal(err)
		}
		pages[h.Name] = text.String()
	}
}
