//go:build machines

// Package machines installs Weft's packages on whole machines, as their owners
// do, and looks what becomes of them: systemd as init, reboots, upgrades and
// removal. Machines are containers of systemd-nspawn and a virtual machine of
// qemu, or whatever an SSH configuration names (-ssh-config).
package machines

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

var (
	sshConfig = flag.String("ssh-config", "", "run on the machines of this OpenSSH configuration, cp, api, web and vm, instead of making some")
	withVM    = flag.Bool("vm", true, "boot the virtual machine, too")
	keepDir   = flag.String("packages", "", "folder with old/ and new/ packages, as packaging/build.sh makes them; default: they are built")
)

// insideEnv says that this process has namespaces of its own, and its folder.
const insideEnv = "WEFT_MACHINES_DIR"

// TestMain does everything in a mount, network and PID namespace, so that
// machines, mounts and interfaces end with this process however it ends.
func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv(insideEnv) != "" {
		os.Exit(m.Run())
	}
	code, err := outside(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "machines:", err)
		code = 1
	}
	os.Exit(code)
}

// prefix begins the names of what a run leaves when it is killed: folders and
// cgroups. The pid after it tells the next run whether it still goes on.
const prefix = "weft-machines-"

func outside(m *testing.M) (int, error) {
	sweep()
	dir := filepath.Join(os.TempDir(), prefix+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return 0, err
	}
	defer func() { remove(os.Getpid()) }()
	if *keepDir == "" {
		if err := build(filepath.Join(dir, "packages")); err != nil {
			return 0, err
		}
	}
	if *sshConfig != "" {
		if err := os.Setenv(insideEnv, dir); err != nil {
			return 0, err
		}
		return m.Run(), nil
	}
	if os.Geteuid() != 0 {
		return 0, errors.New("whole machines need root")
	}
	args := []string{"--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", os.Args[0]}
	cmd := exec.Command("unshare", append(args, os.Args[1:]...)...)
	cmd.Env = append(os.Environ(), insideEnv+"="+dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return max(exit.ExitCode(), 1), nil
		}
		return 0, err
	case <-signals:
		_ = cmd.Process.Kill()
		<-done
		return 0, errors.New("interrupted")
	}
}

// sweep removes what runs that were killed have left.
func sweep() {
	var left []string
	for _, of := range append(cgroupRoots(), os.TempDir()) {
		found, _ := filepath.Glob(filepath.Join(of, prefix+"*"))
		left = append(left, found...)
	}
	for _, dir := range left {
		pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(dir), prefix))
		if err == nil && syscall.Kill(pid, 0) != nil {
			remove(pid)
		}
	}
}

func remove(pid int) {
	name := prefix + strconv.Itoa(pid)
	// The kernel takes a moment to end what a PID namespace had.
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for _, root := range cgroupRoots() {
		dir := filepath.Join(root, name)
		for removeCgroup(dir); time.Now().Before(deadline); removeCgroup(dir) {
			if _, err := os.Stat(dir); err != nil {
				break
			}
			<-tick.C
		}
	}
	_ = os.RemoveAll(filepath.Join(os.TempDir(), name))
}

// removeCgroup removes a folder and all beneath it, from the leaves.
func removeCgroup(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() {
			removeCgroup(filepath.Join(dir, e.Name()))
		}
	}
	_ = os.Remove(dir)
}

// cgroupRoots are the trees in which systemd-nspawn makes cgroups.
func cgroupRoots() (roots []string) {
	for _, root := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"} {
		if _, err := os.Stat(root); err == nil {
			roots = append(roots, root)
		}
	}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.procs"); err == nil {
		roots = append(roots, "/sys/fs/cgroup")
	}
	return roots
}

// build makes the packages of this tree twice, as two releases.
func build(dir string) error {
	for name, version := range map[string]string{"old": "0.1.0", "new": "0.2.0"} {
		cmd := exec.Command("../../packaging/build.sh", filepath.Join(dir, name))
		cmd.Env = append(os.Environ(), "WEFT_VERSION="+version, "COMPRESSION=none")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("make packages: %w\n%s", err, out)
		}
	}
	return nil
}
