//go:build machines

package machines

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// hold opens a connection to the service on every host that calls, which stays
// open.
func (s *scene) hold(t *testing.T) {
	t.Helper()
	for _, m := range s.callers() {
		m.Copy(t, "guest/held.py", "/srv/weft")
		m.Run(t, "systemctl stop held 2>/dev/null; systemd-run --unit held --property StandardOutput=truncate:/srv/weft/held.log python3 /srv/weft/held.py http://api.mesh/")
		m.Eventually(t, "grep started /srv/weft/held.log")
	}
}

// held tells whether those connections are open still.
func (s *scene) held(t *testing.T, while string) {
	t.Helper()
	for _, m := range s.callers() {
		out := m.Run(t, "systemctl stop held; tail -n 1 /srv/weft/held.log")
		if !strings.HasPrefix(out, "held after") {
			t.Errorf("%s: a connection that was open while %s: %s", m.Name, while, out)
		}
		t.Logf("%s: the connection that was open while %s: %s", m.Name, while, out)
	}
}

// look has a host that calls ask for the service's name all the time.
func (s *scene) look(t *testing.T, m *Machine) {
	t.Helper()
	if !slices.Contains(s.callers(), m) {
		return
	}
	m.Copy(t, "guest/lookups.py", "/srv/weft")
	m.Run(t, "systemctl stop lookups 2>/dev/null; systemd-run --unit lookups --property StandardOutput=truncate:/srv/weft/lookups.log --property TimeoutStopSec=300 python3 /srv/weft/lookups.py api.mesh")
	m.Eventually(t, "grep started /srv/weft/lookups.log")
}

// looked tells whether all of those queries were answered, each at the first try.
func (s *scene) looked(t *testing.T, m *Machine, while string) {
	t.Helper()
	if !slices.Contains(s.callers(), m) {
		return
	}
	out := m.Run(t, "systemctl stop lookups; tail -n 1 /srv/weft/lookups.log")
	var results map[string]int
	if err := json.Unmarshal([]byte(out), &results); err != nil || results["answered"] < 10 || len(results) > 1 {
		t.Errorf("%s: what became of queries while %s: %s", m.Name, while, out)
	}
	t.Logf("%s: what became of queries while %s: %s", m.Name, while, out)
}

// envoy is the process of a host's Envoy, and the unit that it is in.
func envoy(t *testing.T, m *Machine) (pid, unit string) {
	t.Helper()
	pid = m.Run(t, "pgrep -x envoy")
	return pid, m.Run(t, "sed -n 's|.*/||p' /proc/"+pid+"/cgroup | sort -u | grep weft")
}

// restarts starts agents anew, and stops one from moving, so that systemd's
// watchdog has to. Envoy is a unit of its own and goes on.
func (s *scene) restarts(t *testing.T) {
	s.hold(t)
	each(t, s.hosts(), func(t *testing.T, m *Machine) {
		pid, unit := envoy(t, m)
		if want := "weft-envoy-" + m.Name + "-" + m.Name + ".scope"; unit != want {
			t.Errorf("%s: Envoy is in %s, not in %s", m.Name, unit, want)
		}
		if user := m.Run(t, "stat --format %U /proc/"+pid); user != "weft-proxy" {
			t.Errorf("%s: Envoy runs as %s", m.Name, user)
		}
		s.look(t, m)
		for range 3 {
			m.Run(t, "systemctl restart weft-agent")
		}
		m.Eventually(t, "weft-agent status")
		s.looked(t, m, "its agent was started anew")
		if now, _ := envoy(t, m); now != pid {
			t.Errorf("%s: after systemctl restart weft-agent Envoy is process %s, not %s", m.Name, now, pid)
		}
		if m != s.web {
			return
		}
		agent := m.Run(t, "systemctl show --property MainPID --value weft-agent")
		m.Run(t, "kill -STOP "+agent)
		m.Eventually(t, "journalctl --quiet --unit weft-agent --grep 'Watchdog timeout'")
		m.Eventually(t, fmt.Sprintf("now=$(systemctl show --property MainPID --value weft-agent); [ $now != 0 ] && [ $now != %s ] && weft-agent status", agent))
		if now, _ := envoy(t, m); now != pid {
			t.Errorf("%s: after its watchdog Envoy is process %s, not %s", m.Name, now, pid)
		}
	})
	s.held(t, "agents were started anew, one by its watchdog")
}

// memory leaves Envoy too little of it, in a cgroup that the kernel counts.
func (s *scene) memory(t *testing.T) {
	m := s.vm
	if m == nil {
		t.Log("-vm=false: the memory of containers here is not counted apart")
		return
	}
	before, unit := envoy(t, m)
	// Not by systemctl set-property, which the next Envoy would inherit.
	m.Run(t, "echo 8M >/sys/fs/cgroup$(cut -d: -f3 /proc/"+before+"/cgroup)/memory.max")
	m.Eventually(t, "journalctl --quiet --unit weft-agent --grep 'envoy died.*out of memory'")
	m.Eventually(t, "weft-agent status")
	if now, in := envoy(t, m); now == before || in != unit {
		t.Errorf("Envoy was process %s in %s, and is %s in %s", before, unit, now, in)
	}
	var status struct {
		Workloads []struct{ Envoy struct{ OutOfMemory int } }
	}
	out := m.Run(t, "weft-agent status -o json")
	if err := json.Unmarshal([]byte(out), &status); err != nil || len(status.Workloads) != 1 || status.Workloads[0].Envoy.OutOfMemory == 0 {
		t.Errorf("status does not tell that Envoy was killed for want of memory: %s", out)
	}
	s.calls(t)
}

// ebpf has the virtual machine redirect by that engine, and those calls alone
// that a unit of the first moment makes; both are there before that unit is.
func (s *scene) ebpf(t *testing.T) {
	m := s.vm
	if m == nil {
		t.Log("-vm=false: containers here have no cgroups of their own to hang programs on")
		return
	}
	s.outside(t)
	m.Run(t, "cp /etc/weft/agent.yaml /srv/weft/agent.yaml; echo 'redirectEngine: ebpf' >>/etc/weft/agent.yaml; systemctl restart weft-agent")
	m.Eventually(t, "weft-agent status")
	m.Eventually(t, "weft-agent status -o json | grep -q '\"ebpf\"' && ! nft list table inet weft 2>/dev/null") // which goes when the other is in force
	s.calls(t)

	for _, engine := range []string{"ebpf", "nftables"} {
		m.Put(t, "/etc/systemd/system/early.service", fmt.Sprintf(earlyUnit, s.cp.IP))
		m.Run(t, fmt.Sprintf("systemctl daemon-reload; cp /srv/weft/agent.yaml /etc/weft; printf 'redirectEngine: %s\\nonly: [unit:early.service]\\n' >>/etc/weft/agent.yaml; systemctl restart weft-agent", engine))
		m.Eventually(t, "weft-agent status")
		s.first(t, m)
		if out, err := m.Try(t, "curl --silent --show-error --fail --max-time 10 http://api.mesh/"); err == nil {
			t.Errorf("%s, only unit:early.service: SSH's command was redirected: %s", engine, out)
		}
	}
	m.Run(t, "cp /srv/weft/agent.yaml /etc/weft; systemctl restart weft-agent")
	m.Eventually(t, "weft-agent status")
	s.calls(t)
}
