//go:build machines

package machines

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A scene is one control plane and three hosts: two that are called, and call,
// and one that is a virtual machine where machines are made.
type scene struct {
	cp, api, web, vm *Machine
	away             *Machine // where the agent is not installed any more
	packages         string
}

func (s *scene) all() []*Machine   { return append([]*Machine{s.cp, s.api}, s.callers()...) }
func (s *scene) hosts() []*Machine { return s.all()[1:] }
func (s *scene) callers() []*Machine {
	return slices.DeleteFunc([]*Machine{s.web, s.vm}, func(m *Machine) bool { return m == nil })
}

// named is a machine of the SSH configuration, where a person logs in who may
// become root.
func named(name string) *Machine {
	return &Machine{Name: name, ssh: []string{"ssh", "-q", "-F", *sshConfig, "-o", "BatchMode=yes", name}, sudo: true}
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{packages: *keepDir}
	if s.packages == "" {
		s.packages = filepath.Join(os.Getenv(insideEnv), "packages")
	}
	if *sshConfig != "" {
		s.cp, s.api, s.web, s.vm = named("cp"), named("api"), named("web"), named("vm")
		for _, m := range s.all() {
			m.IP = strings.Fields(m.Run(t, "ip -4 -o route get 198.51.100.1 | sed 's/.* src //'"))[0]
		}
		return s
	}
	l := newLAN(t, s.packages)
	if *withVM {
		s.vm = l.emulate(t, "vm") // the slowest first
	}
	s.cp, s.api, s.web = l.spawn(t, "cp"), l.spawn(t, "api"), l.spawn(t, "web")
	for _, m := range s.all() {
		m.up(t)
	}
	return s
}

// TestMachines is the life of a mesh on whole machines. Each step builds on the
// one before.
func TestMachines(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	var before map[string]string
	for _, step := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"01 what is there before", func(t *testing.T) { before = s.traces(t) }},
		{"02 install", s.install},
		{"03 nothing is redirected before a host joins", func(t *testing.T) { s.untouched(t, before) }},
		{"04 join", s.join},
		{"05 call by name", s.calls},
		{"06 reboot without the control plane", s.reboot},
		{"07 without weft-redirect.service the first calls go around the proxy", s.control},
		{"08 agents are started anew, and Envoy goes on", s.restarts},
		{"09 upgrade under load", s.upgrade},
		{"10 configuration is kept", s.kept},
		{"11 Envoy is killed for want of memory", s.memory},
		{"12 eBPF and cgroups from the first moment", s.ebpf},
		{"13 remove", func(t *testing.T) { s.remove(t, before) }},
		{"14 install again, and go on", s.back},
		{"15 purge", func(t *testing.T) { s.purge(t, before) }},
		{"16 join by Ansible", s.ansible},
		{"17 join by cloud-init", s.cloudInit},
		{"18 README as it is written", s.readme},
	} {
		began := time.Now()
		if !t.Run(step.name, step.run) {
			s.tell(t)
			t.FailNow()
		}
		t.Logf("%s took %s", step.name, time.Since(began).Round(100*time.Millisecond))
	}
}

// each does something on several machines at once.
func each(t *testing.T, machines []*Machine, f func(t *testing.T, m *Machine)) {
	t.Helper()
	if !t.Run("on", func(t *testing.T) {
		for _, m := range machines {
			t.Run(m.Name, func(t *testing.T) {
				t.Parallel()
				f(t, m)
			})
		}
	}) {
		t.FailNow()
	}
}

// tell shows what services said where a step failed.
func (s *scene) tell(t *testing.T) {
	t.Helper()
	for _, m := range s.all() {
		out, _ := m.Try(t, "journalctl --no-pager -o short-monotonic -n 500 -u 'weft*' | grep -v 'gRPC config stream' | tail -n 100; systemctl --failed --no-legend; systemctl status --no-pager -n 0 'weft*'")
		t.Logf("--- %s:\n%s", m.Name, out)
	}
}

// looks are what removal must leave as it was. Counters and times are not
// compared, nor what the kernel loaded.
var looks = map[string]string{
	"ruleset": "nft --stateless list ruleset",
	"rules":   "ip rule; ip -6 rule",
	"routes":  "ip route show table all | sort; ip -6 route show table all | sed 's/ expires [0-9]*sec//' | sort",
	"sysctls": "sysctl -a 2>/dev/null | grep -E '^net[.](ipv4|ipv6|bridge|core)' | grep -vE 'tcp_mem|udp_mem|uuid|random|[.]stat|cookies|flush|gc_|file-max|nf_conntrack|netdev_rss_key|tcp_fastopen_key|stable_secret' | sort",
	"bpf":     "find /sys/fs/bpf 2>/dev/null | sort",
	"users":   "cut -d: -f1 /etc/passwd /etc/group | sort",
	"files":   "find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /var/log -o -path /var/lib/dpkg -o -path /var/cache -o -path /var/lib/apt -o -path /root -o -path /srv -o -path /var/lib/systemd -o -path /var/tmp \\) -prune -o -name '*weft*' -print | sort",
	"units":   "systemctl list-unit-files --no-legend 'weft*' | sort; find /etc/systemd/system -name '*weft*' | grep -v 10-weft | sort",
}

func (s *scene) traces(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	var mu sync.Mutex
	each(t, s.all(), func(t *testing.T, m *Machine) {
		for name, command := range looks {
			out := m.Run(t, command)
			mu.Lock()
			all[m.Name+": "+name] = out
			mu.Unlock()
		}
	})
	return all
}

func (s *scene) same(t *testing.T, before map[string]string, but ...string) {
	t.Helper()
next:
	for name, now := range s.traces(t) {
		for _, b := range but {
			if strings.HasSuffix(name, ": "+b) {
				continue next
			}
		}
		if now != before[name] {
			t.Errorf("%s was\n%s\nand is\n%s", name, before[name], now)
		}
	}
}

// provision is what Vagrant runs too.
func (s *scene) provision(t *testing.T, m *Machine, what, from string) {
	t.Helper()
	m.Copy(t, "guest/provision.sh", "/srv/weft")
	t.Log(m.Run(t, "sh /srv/weft/provision.sh "+s.deliver(t, m, what, from)))
}

// deliver has a package on a machine, and tells where.
func (s *scene) deliver(t *testing.T, m *Machine, what, from string) string {
	t.Helper()
	deb := s.deb(t, what, from)
	if m.packages != "" {
		return filepath.Join(m.packages, from, filepath.Base(deb))
	}
	m.Run(t, "rm -f /srv/weft/*.deb")
	m.Copy(t, deb, "/srv/weft")
	return "/srv/weft/" + filepath.Base(deb)
}

// deb is the old or the new package.
func (s *scene) deb(t *testing.T, what, from string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(s.packages, from, what+"_*_amd64.deb"))
	if err != nil || len(found) != 1 {
		t.Fatalf("want one package %s in %s/%s: %v, %v", what, s.packages, from, found, err)
	}
	return found[0]
}

func (s *scene) install(t *testing.T) {
	s.provision(t, s.cp, "weft-cp", "old")
	s.cp.Run(t, "systemctl is-active weft-cp && systemctl is-enabled weft-cp && weftctl get meshes | grep default")
	each(t, s.hosts(), func(t *testing.T, m *Machine) {
		s.provision(t, m, "weft-agent", "old")
		m.Run(t, "weftctl version | grep 0.1.0 && systemctl is-enabled weft-agent weft-redirect")
	})
}

func (s *scene) untouched(t *testing.T, before map[string]string) {
	for _, m := range s.hosts() {
		if out, err := m.Try(t, "systemctl is-active weft-agent"); err == nil {
			t.Errorf("%s: the agent runs before the host has joined: %s", m.Name, out)
		}
	}
	s.same(t, before, "users", "files", "units")
}

const callers = `
type: TrafficPermission
mesh: default
name: all-to-api
sources: [{match: {kuma.io/service: web}}, {match: {kuma.io/service: vm}}]
destinations: [{match: {kuma.io/service: api}}]
`

func (s *scene) join(t *testing.T) {
	s.cp.Put(t, "/srv/weft/permission.yaml", callers)
	s.cp.Run(t, "weftctl apply -f /srv/weft/permission.yaml")
	s.api.Copy(t, "guest/service.py", "/srv/weft")
	s.api.Run(t, "systemd-run --unit demo python3 /srv/weft/service.py")
	each(t, s.hosts(), func(t *testing.T, m *Machine) {
		token := s.cp.Run(t, fmt.Sprintf("weftctl join-token --tag kuma.io/service=%s --address %s:5678", m.Name, s.cp.IP))
		port := "9"
		if m == s.api {
			port = "8080"
		}
		t.Log(m.Run(t, fmt.Sprintf("weft-agent join %s --service %s --port %s --protocol http", token, m.Name, port)))
		m.Run(t, "systemctl is-active weft-agent")
		m.Eventually(t, "weft-agent status")
	})
}

func (s *scene) calls(t *testing.T) {
	for _, m := range s.callers() {
		if m == s.away {
			continue
		}
		out := m.Eventually(t, "curl --silent --show-error --fail --max-time 10 http://api.mesh/")
		if want := "called by"; !strings.Contains(out, want) || !strings.Contains(out, "spiffe://default/"+m.Name) {
			t.Errorf("%s calls api.mesh: %s", m.Name, out)
		}
	}
	if out, err := s.cp.Try(t, "curl --silent --fail --max-time 5 http://"+s.api.IP+":8080/"); err == nil {
		t.Errorf("who is no part of the mesh was answered: %s", out)
	}
}

const earlyUnit = `[Unit]
Description=A workload of the first moment
After=basic.target

[Service]
Type=exec
ExecStartPre=-/bin/sh -c 'nft list table inet weft >/srv/weft/early.nft 2>&1'
ExecStart=/usr/bin/python3 /srv/weft/early.py %s 9999 /srv/weft/early.json

[Install]
WantedBy=basic.target
`

// outside starts a server on the control plane's machine, which is no part of
// the mesh.
func (s *scene) outside(t *testing.T) {
	t.Helper()
	s.cp.Copy(t, "guest/outside.py", "/srv/weft")
	s.cp.Run(t, "systemctl stop outside 2>/dev/null; systemd-run --unit outside --property StandardOutput=truncate:/srv/weft/outside.log python3 /srv/weft/outside.py 9999")
}

// early reboots a host with a workload that calls from the first moment, and
// tells what became of its calls, how many of those that the server saw came
// around the proxy, and whether the rules were there when it started.
func (s *scene) early(t *testing.T, m *Machine) (calls []string, around int, ruled bool) {
	t.Helper()
	m.Copy(t, "guest/early.py", "/srv/weft")
	m.Put(t, "/etc/systemd/system/early.service", fmt.Sprintf(earlyUnit, s.cp.IP))
	m.Run(t, "rm -f /srv/weft/early.json; systemctl daemon-reload && systemctl enable early")
	m.Reboot(t)
	var seen [][2]any
	if err := json.Unmarshal([]byte(m.Eventually(t, "cat /srv/weft/early.json")), &seen); err != nil {
		t.Fatal(err)
	}
	for _, call := range seen {
		calls = append(calls, fmt.Sprint(call[0]))
	}
	for line := range strings.Lines(s.cp.Run(t, "cat /srv/weft/outside.log")) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == m.IP && f[1] == f[2] {
			around++
		}
	}
	_, err := m.Try(t, "grep -q redirect /srv/weft/early.nft")
	m.Run(t, "systemctl disable --now early; rm /etc/systemd/system/early.service")
	return calls, around, err == nil
}

// first reboots a host and sees that none of its first workload's calls went
// around the proxy. It tells whether nftables had rules when that started.
func (s *scene) first(t *testing.T, m *Machine) (ruled bool) {
	t.Helper()
	calls, around, ruled := s.early(t, m)
	if len(calls) == 0 || calls[0] != "ECONNREFUSED" || around > 0 {
		t.Errorf("%s: %d calls of the first workload went around the proxy; all of them: %v", m.Name, around, calls)
		return ruled
	}
	t.Logf("%s: the first workload was refused %d times, and then: %s", m.Name, len(calls)-1, calls[len(calls)-1])
	return ruled
}

func (s *scene) reboot(t *testing.T) {
	s.outside(t)
	s.cp.Run(t, "systemctl stop weft-cp")
	each(t, s.hosts(), func(t *testing.T, m *Machine) {
		if m == s.api {
			m.Reboot(t)
			m.Run(t, "systemd-run --unit demo python3 /srv/weft/service.py")
			return
		}
		if !s.first(t, m) {
			t.Errorf("%s: the rules were not there when the first workload started", m.Name)
		}
	})
	s.calls(t)
	s.cp.Run(t, "systemctl start weft-cp")
	for _, m := range s.hosts() {
		m.Eventually(t, "weft-agent status")
	}
}

func (s *scene) control(t *testing.T) {
	s.web.Run(t, "systemctl disable weft-redirect weft-agent")
	calls, around, ruled := s.early(t, s.web)
	if ruled || around == 0 {
		t.Errorf("rules there: %t, calls around the proxy: %d of %v: the step before proves nothing", ruled, around, calls)
	}
	s.web.Run(t, "systemctl enable weft-redirect weft-agent && systemctl start weft-redirect weft-agent")
	s.web.Eventually(t, "weft-agent status")
}

func (s *scene) upgrade(t *testing.T) {
	for _, m := range s.callers() {
		pause := "0.02"
		if m == s.vm {
			pause = "0.1" // an emulated one has other things to do
		}
		m.Copy(t, "guest/load.py", "/srv/weft")
		m.Run(t, "systemd-run --unit load --property StandardOutput=truncate:/srv/weft/load.log --property TimeoutStopSec=60 python3 /srv/weft/load.py http://api.mesh/ "+pause)
		m.Eventually(t, "grep started /srv/weft/load.log")
	}
	s.hold(t)
	s.provision(t, s.cp, "weft-cp", "new")
	s.cp.Run(t, "weft-cp version | grep 0.2.0 && systemctl is-active weft-cp")
	each(t, s.hosts(), func(t *testing.T, m *Machine) {
		s.look(t, m)
		s.provision(t, m, "weft-agent", "new")
		m.Eventually(t, "weft-agent status")
		s.looked(t, m, "its agent was upgraded")
		m.Run(t, "weft-agent version | grep 0.2.0")
	})
	s.held(t, "everything was upgraded")
	for _, m := range s.callers() {
		m.Run(t, "systemctl stop load")
		var answers map[string]int
		lines := strings.Split(m.Run(t, "cat /srv/weft/load.log"), "\n")
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &answers); err != nil {
			t.Fatalf("%s: %v: %v", m.Name, lines, err)
		}
		if answers["200"] < 100 || len(answers) > 1 {
			t.Errorf("%s: while everything was upgraded, calls were answered: %v", m.Name, answers)
		}
		t.Logf("%s: while everything was upgraded, calls were answered: %v", m.Name, answers)
	}
}

// kept edits conffiles, and installs once more.
func (s *scene) kept(t *testing.T) {
	s.cp.Run(t, "echo 'logLevel: debug' >>/etc/weft/cp.yaml && systemctl restart weft-cp")
	before := s.cp.Run(t, "stat -c '%a %U:%G' /etc/weft/cp.yaml; cat /etc/weft/cp.yaml")
	agent := s.web.Run(t, "cat /etc/weft/agent.yaml")
	s.provision(t, s.cp, "weft-cp", "old")
	s.provision(t, s.web, "weft-agent", "old")
	if now := s.cp.Run(t, "stat -c '%a %U:%G' /etc/weft/cp.yaml; cat /etc/weft/cp.yaml"); now != before || !strings.HasPrefix(now, "640 root:weft-cp") {
		t.Errorf("cp.yaml was\n%s\nand is\n%s", before, now)
	}
	if now := s.web.Run(t, "cat /etc/weft/agent.yaml"); now != agent {
		t.Errorf("agent.yaml was\n%s\nand is\n%s", agent, now)
	}
	s.web.Eventually(t, "weft-agent status")
	s.calls(t)

	// Killed at any moment, an installation can be had again.
	deb := s.deliver(t, s.web, "weft-agent", "new")
	for _, after := range []string{"0.05", "0.5", "1.5", "2.5"} {
		_, _ = s.web.Try(t, fmt.Sprintf("timeout -s KILL %s dpkg -i --force-confold %s", after, deb))
		if code := s.web.Run(t, "curl --silent --output /dev/null --write-out '%{http_code}' --max-time 10 http://api.mesh/"); code != "200" {
			t.Errorf("an installation was killed after %s s: calls are answered %s", after, code)
		}
	}
	s.web.Run(t, "dpkg --configure -a >/dev/null; apt-get install -y "+deb)
	s.web.Eventually(t, "weft-agent status")
	s.calls(t)
}

func (s *scene) remove(t *testing.T, before map[string]string) {
	each(t, s.hosts(), func(t *testing.T, m *Machine) {
		m.Run(t, "apt-get remove -y weft-agent")
		m.Run(t, "test -e /etc/weft/agent.yaml && test -e /var/lib/weft-agent")
		if out, err := m.Try(t, "pgrep -a -f '/usr/lib/weft/envoy|weft-agent'"); err == nil {
			t.Errorf("%s: left running: %s", m.Name, out)
		}
	})
	s.cp.Run(t, "apt-get remove -y weft-cp && test -e /etc/weft/cp.yaml && test -e /var/lib/weft-cp")
	s.same(t, before, "users", "files", "units")
}

// back installs again on what is quick at it: the virtual machine, where that
// takes a minute, is purged as it was left.
func (s *scene) back(t *testing.T) {
	s.provision(t, s.cp, "weft-cp", "new")
	s.cp.Run(t, "systemctl is-active weft-cp && grep debug /etc/weft/cp.yaml")
	s.away = s.vm
	each(t, []*Machine{s.api, s.web}, func(t *testing.T, m *Machine) {
		s.provision(t, m, "weft-agent", "new")
		m.Eventually(t, "weft-agent status")
	})
	s.calls(t)
}

func (s *scene) purge(t *testing.T, before map[string]string) {
	each(t, s.hosts(), func(t *testing.T, m *Machine) {
		m.Run(t, "systemctl stop weft-agent 2>/dev/null; echo broken >/etc/weft/agent.yaml; apt-get purge -y weft-agent")
	})
	s.cp.Run(t, "apt-get purge -y weft-cp")
	s.same(t, before)
}
