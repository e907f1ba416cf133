//go:build machines

package machines

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// ways are the files for many hosts, as they are shipped.
var ways = filepath.Join("..", "..", "packaging")

// copyTree copies a folder's files.
func (m *Machine) copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err == nil {
			m.Copy(t, path, filepath.Join(to, filepath.Dir(rel)))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// joinedAs is what the control plane has of a host.
func (s *scene) joinedAs(t *testing.T, service string) {
	t.Helper()
	s.cp.Eventually(t, "weftctl get dataplanes | grep -w "+service)
}

// ansible joins a host by the role, which says before what it would do, and
// does nothing the second time.
func (s *scene) ansible(t *testing.T) {
	s.provision(t, s.cp, "weft-cp", "new")
	token := s.cp.Run(t, "weftctl join-token --tag kuma.io/service=web --address "+s.cp.IP+":5678")
	s.web.Run(t, "rm -rf /srv/weft && mkdir -p /srv/weft")
	s.web.copyTree(t, filepath.Join(ways, "ansible"), "/srv/weft/ansible")
	deb := s.deliver(t, s.web, "weft-agent", "new")
	s.web.Put(t, "/srv/weft/ansible/host.yaml", "weft_agent_token: "+token+"\nweft_agent_service: web\nweft_agent_protocol: http\n")
	play := func(args string) string {
		t.Helper()
		return s.web.Run(t, "cd /srv/weft/ansible && LC_ALL=C.UTF-8 ansible-playbook -c local -i localhost, join.yml -e @host.yaml -e weft_agent_package="+deb+" "+args)
	}
	if out := play("--check"); !regexp.MustCompile(`changed=[1-9]\d* .*failed=0`).MatchString(out) {
		t.Errorf("check mode says of a new host:\n%s", out)
	}
	if out, err := s.web.Try(t, "test -e /usr/bin/weft-agent || test -e /etc/weft"); err == nil {
		t.Errorf("check mode installed: %s", out)
	}
	out := play("")
	if strings.Contains(out, token) {
		t.Error("the playbook shows the token")
	}
	s.web.Eventually(t, "weft-agent status")
	s.joinedAs(t, "web")
	for _, args := range []string{"", "--check"} {
		if out := play(args); !regexp.MustCompile(`changed=0 .*failed=0`).MatchString(out) {
			t.Errorf("the second time, %s:\n%s", args, out)
		}
	}
	s.web.Run(t, "apt-get purge -y weft-agent")
}

// cloudInit joins a machine at its first boot.
func (s *scene) cloudInit(t *testing.T) {
	token := s.cp.Run(t, "weftctl join-token --tag kuma.io/service=api --address "+s.cp.IP+":5678")
	data, err := os.ReadFile(filepath.Join(ways, "cloud-init", "user-data.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.provision(t, s.api, "weft-agent", "new")
	const seed = "/var/lib/cloud/seed/nocloud/"
	s.api.Put(t, seed+"meta-data", "instance-id: weft-1\n")
	s.api.Put(t, seed+"user-data", strings.NewReplacer("TOKEN", token, "SERVICE", "api", "PORT", "8080").Replace(string(data)))
	s.api.Run(t, "rm -f /etc/cloud/cloud-init.disabled && cloud-init clean --logs 2>/dev/null; systemctl daemon-reload")
	s.api.Reboot(t)
	// What else cloud-init would do to a machine without a network may fail.
	s.api.Eventually(t, "cloud-init status --long; weft-agent status")
	s.joinedAs(t, "api")
	s.api.Run(t, "test ! -e /run/weft-join-token; touch /etc/cloud/cloud-init.disabled; apt-get purge -y weft-agent")
	s.cp.Run(t, "apt-get purge -y weft-cp")
}
