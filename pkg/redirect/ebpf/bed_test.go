//go:build linux

package ebpf

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/redirecttest"
)

// bedVariable tells a test program that it lies in its bed: a cgroup, which it
// names, and a mount namespace of its own, so that nothing of a test sees, or
// is seen by, any other process of the machine, and all of it ends with the
// program, however that ends.
const bedVariable = "WEFT_TEST_BED"

// madeVariable tells children of a test program that its bed is made.
const madeVariable = "WEFT_TEST_BED_MADE"

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 || os.Getenv(bedVariable) != "" {
		if err := makeBed(); err != nil { // a child of a test lies in it already
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		redirecttest.Main(m, suiteEngine())
		return
	}
	code, err := goToBed()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// goToBed runs this test program again, in its bed.
func goToBed() (code int, err error) {
	tree, err := findTree("")
	if err != nil {
		return 1, err
	}
	folder := fmt.Sprintf("weft-test-ebpf-%d", os.Getpid())
	at := filepath.Join(tree.root, folder)
	if err := os.Mkdir(at, 0o755); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, unmakeCgroup(at)) }()
	dir, err := os.Open(at)
	if err != nil {
		return 1, err
	}
	defer dir.Close()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), bedVariable+"="+folder)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, UseCgroupFD: true, CgroupFD: int(dir.Fd()), Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return max(1, exit.ExitCode()), nil
	}
	return 0, err
}

// unmakeCgroup removes a folder of the tree and those in it. Whoever is left in
// them was started by a test and outlived it.
func unmakeCgroup(at string) error {
	entries, err := os.ReadDir(at)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := unmakeCgroup(filepath.Join(at, e.Name())); err != nil {
				return err
			}
		}
	}
	return os.Remove(at)
}

// makeBed mounts a bpf file system that only this program sees.
func makeBed() error {
	if os.Geteuid() != 0 || os.Getenv(madeVariable) != "" {
		return nil
	}
	if err := os.Setenv(madeVariable, "1"); err != nil {
		return err
	}
	if err := unix.Mount("test", defaultPins, "bpf", 0, "mode=0700"); err != nil {
		return fmt.Errorf("mount a bpf file system: %w", err)
	}
	return nil
}

// ownCgroup is the folder that this program is in.
func ownCgroup() string { return os.Getenv(bedVariable) }
