//go:build linux

package redirecttest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
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

// otherTrees put the cgroup v2 tree where a machine of the other kind has it: alone,
// or beside version 1.
var otherTrees = map[bool]string{
	true:  "umount -R -l /sys/fs/cgroup; mount -t tmpfs none /sys/fs/cgroup; mkdir /sys/fs/cgroup/unified; mount -t cgroup2 none /sys/fs/cgroup/unified",
	false: "umount -R -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup",
}

// Processes are told by cgroup on machines of both kinds, this one's and the
// other, which this test program sees in a mount namespace of its own.
func (u suite) otherTree(t *testing.T) {
	root, err := cgroup.Root()
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	engine := "^" + strings.ReplaceAll(path.Dir(t.Name()), "/", "$/^") + "$"
	out, err := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-ec", otherTrees[root == "/sys/fs/cgroup"]+`; exec "$@"`,
		"sh", exe, "-test.v", "-test.run", engine+"/^owners$/^cgroup$").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+path.Dir(t.Name())+"/owners/cgroup (") {
		t.Errorf("with the other kind of tree: %v\n%s", err, out)
	}
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
