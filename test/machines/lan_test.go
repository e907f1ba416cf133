//go:build machines

package machines

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A lan is a bridge in this process's network namespace, and the machines on it.
type lan struct {
	dir      string
	image    string // the folder that image.sh made
	packages string
	n        int
}

// gateway is this process on the bridge.
const gateway = "198.51.100.254"

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func newLAN(t *testing.T, packages string) *lan {
	t.Helper()
	l := &lan{dir: os.Getenv(insideEnv), packages: packages}
	out, err := exec.CommandContext(t.Context(), "./image.sh").Output()
	if err != nil {
		t.Fatalf("image.sh: %v", err)
	}
	l.image = strings.TrimSpace(string(out))
	command(t, "ip", "link", "set", "lo", "up")
	command(t, "ip", "link", "add", "br0", "type", "bridge")
	command(t, "ip", "address", "add", gateway+"/24", "dev", "br0")
	command(t, "ip", "link", "set", "br0", "up")
	// Nobody else's machines are of our concern, nor are ours of theirs.
	command(t, "mkdir", "-p", "/run/systemd/nspawn")
	command(t, "mount", "-t", "tmpfs", "tmpfs", "/run/systemd/nspawn")
	return l
}

// next is the machine that is made next, not running yet.
func (l *lan) next(name string) *Machine {
	l.n++
	m := &Machine{Name: name, IP: fmt.Sprintf("198.51.100.%d", l.n), packages: "/srv/packages"}
	m.ssh = []string{"ssh", "-q", "-i", filepath.Join(l.image, "key"), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
		"-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=10", "-o", "ControlMaster=auto", "-o", "ControlPersist=10m",
		"-o", "ControlPath=" + filepath.Join(l.dir, name+".ssh"), "root@" + m.IP}
	m.boots = func(*testing.T) { _ = os.Remove(filepath.Join(l.dir, name+".ssh")) }
	return m
}

// files are what makes an image this machine, by their paths.
func (m *Machine) files() map[string]string {
	return map[string]string{
		"etc/hostname": m.Name + "\n",
		"etc/systemd/network/10-weft.network.d/address.conf": fmt.Sprintf("[Network]\nAddress=%s/24\nAddress=2001:db8:57::%s/64\nGateway=%s\n",
			m.IP, m.IP[strings.LastIndex(m.IP, ".")+1:], gateway),
		"etc/resolv.conf": "nameserver " + gateway + "\n",
	}
}

// spawn starts a container, which boots.
func (l *lan) spawn(t *testing.T, name string) *Machine {
	t.Helper()
	m := l.next(name)
	dir := filepath.Join(l.dir, name)
	root := filepath.Join(dir, "root")
	for _, d := range []string{"upper", "work", "root"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	command(t, "mount", "-t", "overlay", "overlay", "-o",
		fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", filepath.Join(l.image, "root"), filepath.Join(dir, "upper"), filepath.Join(dir, "work")), root)
	for path, content := range m.files() {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// Each in cgroups of its own, which it may change. It ends with 133 to be
	// started again.
	script := fmt.Sprintf(`
for tree in %[1]s; do mkdir -p "$tree/%[2]s/%[3]s"; echo $$ >"$tree/%[2]s/%[3]s/cgroup.procs"; done
while systemd-nspawn --quiet --directory=%[4]s --boot --register=no --keep-unit --machine=%[3]s --console=pipe \
  --resolv-conf=off --timezone=off --link-journal=no --bind-ro=%[5]s:/srv/packages --network-bridge=br0 --capability=CAP_NET_ADMIN,CAP_BPF,CAP_PERFMON </dev/null
  [ $? -eq 133 ]; do
  for tree in %[1]s; do echo $$ >"$tree/%[2]s/%[3]s/cgroup.procs"; done
done`, strings.Join(cgroupRoots(), " "), filepath.Base(l.dir), name, root, l.packages)
	l.start(t, name, "sh", "-c", script)
	return m
}

// emulate starts a virtual machine with a kernel of its own, which boots.
func (l *lan) emulate(t *testing.T, name string) *Machine {
	t.Helper()
	m := l.next(name)
	disk := filepath.Join(l.dir, name+".raw")
	command(t, "cp", "--sparse=always", filepath.Join(l.image, "disk.raw"), disk)
	var edits strings.Builder
	edits.WriteString("mkdir /etc/systemd/network/10-weft.network.d\nmkdir /srv/packages\n")
	files := m.files()
	// A lookup that meets an agent between two lives waits for the next one: it
	// takes some seconds to start here, and a resolver gives up after ten.
	files["etc/resolv.conf"] += "options timeout:30\n"
	files["etc/fstab"] = "/dev/vdb /srv/packages ext4 ro,nofail,x-systemd.device-timeout=infinity 0 0\n"
	for path, content := range files {
		from := filepath.Join(l.dir, name+"-"+filepath.Base(path))
		if err := os.WriteFile(from, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&edits, "rm /%[1]s\nwrite %[2]s /%[1]s\n", path, from)
	}
	script := filepath.Join(l.dir, name+".debugfs")
	if err := os.WriteFile(script, []byte(edits.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	command(t, "debugfs", "-w", "-f", script, disk)
	debs := filepath.Join(l.dir, "packages.raw")
	command(t, "truncate", "--size", "1G", debs)
	command(t, "mkfs.ext4", "-q", "-d", l.agents(t), debs)
	command(t, "ip", "tuntap", "add", "tap-"+name, "mode", "tap")
	command(t, "ip", "link", "set", "tap-"+name, "master", "br0", "up")
	// One processor: where this machine is busy, a second would wait for locks that
	// the first holds while it does not run.
	accel, cpu := acceleration(t)
	l.start(t, name, "qemu-system-x86_64", "-accel", accel, "-cpu", cpu, "-m", "1024", "-nodefaults", "-display", "none",
		"-serial", "stdio", "-monitor", "none",
		"-kernel", filepath.Join(l.image, "vmlinuz"), "-initrd", filepath.Join(l.image, "initrd"),
		"-append", "root=LABEL=weft-root rw console=ttyS0 net.ifnames=0 quiet systemd.show_status=0 systemd.default_timeout_start_sec=900 no_timer_check tsc=reliable mitigations=off",
		"-drive", "file="+disk+",format=raw,if=virtio,cache=unsafe",
		"-drive", "file="+debs+",format=raw,if=virtio,read-only=on",
		"-netdev", "tap,id=lan,ifname=tap-"+name+",script=no,downscript=no", "-device", "virtio-net-pci,netdev=lan,mac=52:54:00:57:00:01",
		"-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng")
	return m
}

// agents is a folder with the agent's packages alone, which are all that the
// virtual machine installs.
func (l *lan) agents(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(l.dir, "agents")
	for _, version := range []string{"old", "new"} {
		command(t, "mkdir", "-p", filepath.Join(dir, version))
		command(t, "sh", "-c", "cp --reflink=auto "+filepath.Join(l.packages, version, "weft-agent_*.deb")+" "+filepath.Join(dir, version))
	}
	return dir
}

// acceleration is qemu's accelerator and processor: the kernel's, where the
// processor has what that stands on, and software otherwise. There are kernels
// whose /dev/kvm opens without it and runs next to nothing.
func acceleration(t *testing.T) (accel, cpu string) {
	t.Helper()
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err == nil {
		err = kvm.Close()
	}
	if err == nil && virtualizing.Match(info) {
		return "kvm", "host"
	}
	// What newer processors have costs more to emulate than it gains.
	t.Log("the virtual machine is emulated: there is no KVM, or no processor for it")
	return "tcg", "Westmere"
}

// virtualizing are the flags of processors that run virtual machines.
var virtualizing = regexp.MustCompile(`(?m)^flags\s*:.* (vmx|svm)( |$)`)

// start starts what is a machine. It ends with the test, and what it wrote on
// its console is shown where the test failed.
func (l *lan) start(t *testing.T, name, program string, args ...string) {
	t.Helper()
	console, err := os.Create(filepath.Join(l.dir, name+".console"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = console, console
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // its own processes end with this one's PID namespace
		_ = cmd.Wait()
		_ = console.Close()
		if text, err := os.ReadFile(console.Name()); err == nil && t.Failed() && len(text) > 0 {
			t.Logf("--- console of %s, %s after its start:\n%.20000s", name, time.Since(began).Round(time.Second), text)
		}
	})
}
