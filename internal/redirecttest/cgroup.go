//go:build linux

package redirecttest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/internal/testtime"
	"github.com/weft-mesh/weft/pkg/redirect/cgroup"
	"github.com/weft-mesh/weft/pkg/redirect/sockets"
)

// A cgroupFolder is a cgroup of a test's own.
type cgroupFolder struct {
	path string // from the tree's root
	at   string
	dir  *os.File
}

var cgroupCount atomic.Int32

// newCgroups makes folders in one of the test's own, in the cgroup that it is in. They go with the test,
// and so must who is in them.
func newCgroups(t *testing.T, names ...string) []*cgroupFolder {
	t.Helper()
	root, err := cgroup.Root()
	if err != nil {
		t.Fatal(err)
	}
	own, err := sockets.Look(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	slice := filepath.Join(own.Cgroup, fmt.Sprintf("weft-test-%d-%d", os.Getpid(), cgroupCount.Add(1)))
	top := &cgroupFolder{path: slice, at: filepath.Join(root, slice)}
	top.make(t)
	t.Cleanup(func() { top.remove(t) })
	var out []*cgroupFolder
	for _, name := range names {
		c := &cgroupFolder{path: slice + "/" + name, at: filepath.Join(root, slice, name)}
		c.make(t)
		t.Cleanup(func() {
			if c.dir != nil {
				c.remove(t)
			}
		})
		out = append(out, c)
	}
	return out
}

func (c *cgroupFolder) make(t *testing.T) {
	t.Helper()
	if err := os.Mkdir(c.at, 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(c.at)
	if err != nil {
		t.Fatal(err)
	}
	c.dir = dir
}

// remove waits until the kernel has forgotten the last process of the folder.
func (c *cgroupFolder) remove(t *testing.T) {
	t.Helper()
	_ = c.dir.Close()
	c.dir = nil
	var err error
	until(t, testnet.Patience, func() string {
		if err = os.Remove(c.at); errors.Is(err, unix.EBUSY) {
			return err.Error()
		}
		return ""
	})
	if err != nil {
		t.Error(err)
	}
}

// admit makes a program start in the folder.
func (c *cgroupFolder) admit(cmd *exec.Cmd) {
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(c.dir.Fd())
}

// until waits for a condition and fails the test when it does not come true.
// It says what is amiss, or "".
func until(t testing.TB, within time.Duration, amiss func() string) {
	t.Helper()
	watch := testtime.Start(t)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		said := amiss()
		if said == "" {
			return
		}
		if watch.Took() > within {
			t.Fatalf("after %s: %s", within, said)
		}
		<-tick.C
	}
}
