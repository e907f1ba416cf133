//go:build linux

package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// host is one whose sshd is configured in all the ways that there are.
func host(t *testing.T, listening map[uint16][]string) doors {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"etc/ssh/sshd_config":                           "# Port 1\nPort 2222\nListenAddress 0.0.0.0:2223\nListenAddress [::]:2224\nListenAddress ::1\nPermitRootLogin no\n",
		"etc/ssh/sshd_config.d/more.conf":               "port 2225\n",
		"usr/lib/systemd/system/ssh.socket":             "[Socket]\nListenStream=22\nAccept=no\n",
		"etc/systemd/system/ssh.socket.d/override.conf": "[Socket]\nListenStream=\nListenStream=10.0.0.1:2226\n",
	} {
		file := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return doors{root: root, listening: func() (map[uint16][]string, error) { return listening, nil }, local: func(h string) bool { return h == "10.0.0.1" }}
}

func TestDoorsStayOpen(t *testing.T) {
	d := host(t, map[uint16][]string{443: {"nginx"}, 2227: {"systemd", "sshd"}, 5678: {"weft-cp"}})
	c := Config{ControlPlanes: []string{"10.0.0.1:5679", "192.0.2.1:5680"}}
	r := redirect.Rules{Inbound: redirect.Inbound{To: 15006, All: true, ExcludePorts: []redirect.PortRange{{First: 2220, Last: 2223}}}}
	kept, err := c.keepOpen(&r, d)
	if err != nil {
		t.Fatal(err)
	}
	var ports []uint16
	for _, p := range r.Normal().Inbound.ExcludePorts {
		ports = append(ports, p.First, p.Last)
	}
	if want := []uint16{22, 22, 2220, 2227, 5678, 5679}; !slices.Equal(ports, want) {
		t.Errorf("excluded %v, want %v", ports, want)
	}
	text := fmt.Sprint(kept)
	for _, want := range []string{"port 22 (SSH's own)", "port 2227 (sshd listens there)", "port 5678 (weft-cp listens there)", "port 5679 (the control plane is on this host)", "sshd_config.d/more.conf"} {
		if !strings.Contains(text, want) {
			t.Errorf("told %s, want %q in it", text, want)
		}
	}
	if strings.Contains(text, "2222") {
		t.Errorf("told what its owner has excluded: %s", text)
	}
	c.CaptureSSH = true
	forced := redirect.Rules{Inbound: redirect.Inbound{To: 15006, All: true}}
	if kept, err := c.keepOpen(&forced, d); err != nil || len(kept)+len(forced.Inbound.ExcludePorts) > 0 {
		t.Errorf("forced, it left %v open, %v", kept, err)
	}
}

// A service at a port of sshd is refused, in words that help.
func TestServiceAtADoor(t *testing.T) {
	for port, refused := range map[uint16]bool{22: true, 2224: true, 8080: false} {
		r := redirect.Rules{Inbound: redirect.Inbound{To: 15006, Ports: []redirect.PortRange{{First: port, Last: port}}}}
		_, err := (&Config{}).keepOpen(&r, host(t, nil))
		if (err != nil) != refused || refused && !strings.Contains(err.Error(), "captureSsh: true") {
			t.Errorf("port %d: %v", port, err)
		}
	}
}

func TestSSHSession(t *testing.T) {
	all := redirect.Rules{Inbound: redirect.Inbound{To: 15006, All: true, ExcludePorts: []redirect.PortRange{{First: 22, Last: 22}}}}
	for _, c := range []struct {
		env      string
		ok       bool
		captured bool
	}{
		{"198.51.100.10 50000 198.51.100.11 22", true, false},
		{"198.51.100.10 50000 198.51.100.11 2022", true, true},
		{"2001:db8::1 50000 2001:db8::2 2022", true, true},
		{"fe80::1%eth0 50000 fe80::2%eth0 2022", true, true},
		{"::ffff:198.51.100.10 50000 ::ffff:198.51.100.11 2022", true, true},
		{"198.51.100.10 50000 198.51.100.11", false, false},
		{"a b c d", false, false},
		{"", false, false},
	} {
		s, ok := readSSHSession(c.env)
		if ok != c.ok || ok && s.captured(all) != c.captured {
			t.Errorf("%q: %v, %t", c.env, s, ok)
		}
		if advice := s.Advice(all); ok && !strings.Contains(advice, "--confirm-within") {
			t.Errorf("%q: no advice: %q", c.env, advice)
		}
	}
	found, ok := FindSSHSession(func(key string) string {
		return map[string]string{"SSH_CONNECTION": "198.51.100.10 50000 198.51.100.11 22"}[key]
	})
	if !ok || found.Server.Port() != 22 {
		t.Errorf("found %v, %t", found, ok)
	}
}
