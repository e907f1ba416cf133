//go:build machines

// Package power takes the power from a machine that writes, in the midst of it,
// and looks what is there when it is back (F11). The machine is qemu's with a
// kernel of Debian's; its disk loses what was not flushed.
package power

import (
	"bufio"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

var (
	rounds = flag.Int("power-rounds", 8, "how often the power goes")
	seed   = flag.Uint64("power-seed", uint64(time.Now().UnixNano()), "chance: when it goes, and what the disk has by then")
)

const (
	diskSize = 96 << 20
	patience = 5 * time.Minute // for a machine to start, which is emulated
)

// modules are those of the kernel by which it finds its disk, in their order.
var modules = []string{
	"drivers/virtio/virtio.ko", "drivers/virtio/virtio_ring.ko", "drivers/virtio/virtio_pci_legacy_dev.ko",
	"drivers/virtio/virtio_pci_modern_dev.ko", "drivers/virtio/virtio_pci.ko", "drivers/block/virtio_blk.ko",
}

// TestPowerLoss takes the power from a store and from an agent's files. What was
// acknowledged is there, and nothing is torn.
func TestPowerLoss(t *testing.T) {
	c := newExperiment(t)
	c.disk = newDisk(c.image(t))
	for range *rounds {
		if fault := c.run(t, true); fault != "" {
			t.Fatalf("seed %d, after %d losses: %s", *seed, c.losses, fault)
		}
	}
	if fault := c.run(t, false); fault != "" {
		t.Fatalf("seed %d: %s", *seed, fault)
	}
	t.Logf("F11: seed %d, losses of power %d, acknowledged writes %d in the store and %d of files, flushes %d, sectors kept %d, lost %d; acknowledged writes lost 0",
		*seed, c.losses, c.acks-c.acked["file"], c.acked["file"], c.disk.flushes, c.kept, c.lost)
}

// TestPowerLossIsNoticed is the same with a disk that lies about flushing: if
// nothing were missing then, the test would look at nothing.
func TestPowerLossIsNoticed(t *testing.T) {
	c := newExperiment(t)
	c.disk = newDisk(c.image(t))
	if fault := c.run(t, true); fault != "" { // which leaves something to lose
		t.Fatal(fault)
	}
	c.disk.lies = true
	for range *rounds {
		if fault := c.run(t, true); fault != "" {
			t.Logf("F11, a disk that lies: seed %d, noticed after %d losses of power: %s", *seed, c.losses, fault)
			return
		}
	}
	t.Errorf("seed %d: a disk that loses what it said to have flushed was noticed by nothing in %d losses", *seed, c.losses)
}

// An experiment is one machine and what is known of what it wrote.
type experiment struct {
	dir, kernel, initrd string
	disk                *disk
	chance              *rand.Rand

	acked              map[string]int // the newest by writer
	acks, losses       int
	kept, lost, starts int
}

func newExperiment(t *testing.T) *experiment {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("the machine's image needs root")
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join("..", "machines", "image.sh")).Output()
	if err != nil {
		t.Fatalf("image of a machine: %v", err)
	}
	image := strings.TrimSpace(string(out))
	c := &experiment{dir: t.TempDir(), kernel: filepath.Join(image, "vmlinuz"), chance: rand.New(rand.NewPCG(*seed, 1)), acked: map[string]int{}}
	root := filepath.Join(c.dir, "root")
	if err := os.MkdirAll(filepath.Join(root, "modules"), 0o755); err != nil {
		t.Fatal(err)
	}
	for n, m := range modules {
		found, err := filepath.Glob(filepath.Join(image, "root/lib/modules/*/kernel", m))
		if err != nil || len(found) != 1 {
			t.Fatalf("module %s: %q, %v", m, found, err)
		}
		data, err := os.ReadFile(found[0])
		if err == nil {
			err = os.WriteFile(filepath.Join(root, "modules", fmt.Sprintf("%d-%s", n, filepath.Base(m))), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(root, "init"), "./guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the machine's init: %v\n%s", err, out)
	}
	c.initrd = filepath.Join(c.dir, "initrd")
	pack := exec.CommandContext(t.Context(), "sh", "-c", "find . | cpio --quiet -o -H newc >../initrd")
	pack.Dir = root
	if out, err := pack.CombinedOutput(); err != nil {
		t.Fatalf("pack the machine's files: %v\n%s", err, out)
	}
	return c
}

// image is an empty file system.
func (c *experiment) image(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(c.dir, "disk")
	f, err := os.Create(path)
	if err == nil {
		err = f.Truncate(diskSize)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "mkfs.ext4", "-q", path).CombinedOutput(); err != nil {
		t.Fatalf("make a file system: %v\n%s", err, out)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// run starts the machine and looks what is there; then, where it is to lose its
// power, lets it write for a while. It returns what is wrong.
func (c *experiment) run(t *testing.T, lose bool) (fault string) {
	t.Helper()
	c.starts++
	socket := filepath.Join(c.dir, fmt.Sprint("nbd", c.starts))
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			err = c.disk.serve(conn)
		}
		served <- err
	}()
	cmd := exec.CommandContext(t.Context(), "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "384",
		"-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio", "-kernel", c.kernel, "-initrd", c.initrd,
		"-append", "console=ttyS0 quiet rdinit=/init panic=-1", "-drive", "file=nbd+unix:///?socket="+socket+",format=raw,if=virtio,cache=none")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	writes := 50 + c.chance.IntN(600)
	ready := false
	var lines []string
	for in := bufio.NewScanner(out); in.Scan(); {
		line := strings.TrimSpace(in.Text())
		lines = append(lines, line)
		word, rest, _ := strings.Cut(line, " ")
		name, number, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(number)
		switch {
		case word == "fault:":
			fault = rest
		case word == "has" && err == nil && n < c.acked[name]:
			fault = fmt.Sprintf("%s is at %d, acknowledged was %d", name, n, c.acked[name])
		case word == "has" && err == nil:
			c.acked[name] = n
		case word == "ack" && err == nil:
			c.acked[name] = n
			c.acks++
		case word == "ready":
			ready = true
			late.Stop()
			if !lose {
				_ = cmd.Process.Kill()
				break
			}
			c.disk.arm(writes, func() { _ = cmd.Process.Kill() })
		}
		if fault != "" {
			break
		}
	}
	late.Stop()
	_ = cmd.Process.Kill()
	c.disk.arm(0, nil)
	_ = cmd.Wait()
	if err := <-served; err != nil {
		t.Fatalf("disk: %v", err)
	}
	if fault == "" && !ready {
		t.Fatalf("the machine did not come up: %s\n%s", said.String(), strings.Join(lines[max(0, len(lines)-30):], "\n"))
	}
	c.losses++
	kept, lost := c.disk.lose(c.chance)
	c.kept, c.lost = c.kept+kept, c.lost+lost
	return fault
}
