//go:build machines

package machines

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestRPM installs, upgrades and erases the rpm packages in a root of their own,
// where their scripts run. That root has no rpm besides, so that what they depend
// on is not looked for.
func TestRPM(t *testing.T) {
	t.Parallel()
	if *sshConfig != "" {
		t.Skip("-ssh-config: it needs a root of image.sh, and not a machine")
	}
	packages := *keepDir
	if packages == "" {
		packages = filepath.Join(os.Getenv(insideEnv), "packages")
	}
	out, err := exec.CommandContext(t.Context(), "./image.sh").Output()
	if err != nil {
		t.Fatalf("image.sh: %v", err)
	}
	dir := filepath.Join(os.Getenv(insideEnv), "rpm")
	root := filepath.Join(dir, "root")
	for _, d := range []string{"upper", "work", "root"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	command(t, "mount", "-t", "overlay", "overlay", "-o",
		fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", filepath.Join(strings.TrimSpace(string(out)), "root"), filepath.Join(dir, "upper"), filepath.Join(dir, "work")), root)
	command(t, "mount", "-t", "proc", "proc", filepath.Join(root, "proc")) // as any root has it that packages are installed in
	in := func(script string) string {
		t.Helper()
		return command(t, "chroot", root, "sh", "-euc", script)
	}
	rpm := func(args ...string) {
		t.Helper()
		if out := command(t, "rpm", append([]string{"--root", root, "--dbpath", "/var/lib/rpm", "--nodeps", "--nosignature"}, args...)...); out != "" {
			t.Logf("rpm %s: %s", strings.Join(args, " "), out)
		}
	}
	of := func(version string) []string {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(packages, version, "*.x86_64.rpm"))
		if err != nil || len(found) != 2 {
			t.Fatalf("want two packages in %s: %v, %v", version, found, err)
		}
		return found
	}
	const traces = "find / -xdev -path /proc -prune -o -path /var/lib/rpm -prune -o -name '*weft*' -print | sort"
	before := in(traces)

	rpm(append([]string{"--install"}, of("old")...)...)
	in("weft-cp version | grep -x 0.1.0; weft-agent version | grep -x 0.1.0; weftctl version | grep 0.1.0")
	in("for u in weft-cp weft-agent weft-redirect; do systemctl is-enabled $u; done")
	in("getent passwd weft-cp weft-proxy; stat -c '%a %U:%G' /etc/weft/cp.yaml | grep -x '640 root:weft-cp'; /usr/lib/weft/envoy --version")
	in("weftctl completion bash | cmp - /usr/share/bash-completion/completions/weftctl; test -e /usr/share/man/man1/weftctl.1.gz")

	in("systemctl disable weft-agent; echo 'zone: east' >>/etc/weft/cp.yaml; touch /etc/weft/agent.yaml")
	rpm(append([]string{"--upgrade"}, of("new")...)...)
	in("weft-cp version | grep -x 0.2.0; weftctl version | grep 0.2.0; grep 'zone: east' /etc/weft/cp.yaml; test -e /etc/weft/agent.yaml")
	if now := in("systemctl is-enabled weft-agent weft-cp || true"); now != "disabled\nenabled\n" {
		t.Errorf("after the upgrade weft-agent, which its owner disabled, and weft-cp are %q", now)
	}
	rpm("--erase", "weft-cp")
	in("weftctl version | grep 0.2.0; test -e /etc/weft/cp.yaml.rpmsave") // the agent's is left
	rpm("--erase", "weft-agent")
	in("test -e /etc/weft/agent.yaml; rm -r /etc/weft")
	if after := in(traces); after != before {
		t.Errorf("left behind:\n%s\nbefore there was:\n%s", after, before)
	}
}
