//go:build linux

package ebpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect/cgroup"
)

// A tree is the cgroup v2 tree.
type tree struct {
	root   string // where it is mounted
	attach string // the folder of it that the programs hang on
}

// findTree finds the tree. The programs hang on its root, and so see every
// process, or on a folder of it.
func findTree(folder string) (tree, error) {
	root, err := cgroup.Root()
	if err != nil {
		return tree{}, fmt.Errorf("%w; or %s", err, instead)
	}
	t := tree{root: root, attach: filepath.Join(root, folder)}
	if st, err := os.Stat(t.attach); err != nil || !st.IsDir() {
		return tree{}, fmt.Errorf("%s is no folder of the cgroup tree: create it, or leave the setting out", t.attach)
	}
	return t, nil
}

// fileidKernfs is the FILEID_KERNFS of open_by_handle_at: a handle that is
// the id alone.
const fileidKernfs = 0xfe

// path is the folder of an id, as an absolute path.
func (t tree) path(id uint64) (string, error) {
	root, err := unix.Open(t.root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("open %s: %w", t.root, err)
	}
	defer func() { _ = unix.Close(root) }()
	handle := unix.NewFileHandle(fileidKernfs, binary.NativeEndian.AppendUint64(nil, id))
	fd, err := unix.OpenByHandleAt(root, handle, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
	if err == nil {
		defer func() { _ = unix.Close(fd) }()
		at, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		if err == nil && strings.HasPrefix(at, t.root) {
			return at, nil
		}
	}
	return t.search(id)
}

// search is for kernels and rights with which a handle does not open.
func (t tree) search(id uint64) (found string, err error) {
	err = filepath.WalkDir(t.root, func(at string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil //nolint:nilerr // folders come and go
		}
		var st unix.Stat_t
		if unix.Stat(at, &st) == nil && st.Ino == id {
			found = at
			return fs.SkipAll
		}
		return nil
	})
	if err == nil && found == "" {
		err = fmt.Errorf("cgroup %d is not in %s", id, t.root)
	}
	return found, err
}

// own is the folder in which this process is.
func (t tree) own() (string, error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", fmt.Errorf("find this process's cgroup: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if at, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return filepath.Join(t.root, at), nil
		}
	}
	return "", errors.New("find this process's cgroup: it is in none of the v2 tree")
}

// A mount is a line of /proc/self/mountinfo.
type mount struct {
	id, at, kind string
	readOnly     bool
	ours         bool // made by place.mount
}

func mounts() ([]mount, error) { return mountsOf("thread-self") }

func mountsOf(process string) ([]mount, error) {
	text, err := os.ReadFile(filepath.Join("/proc", process, "mountinfo"))
	if err != nil {
		return nil, fmt.Errorf("read what is mounted: %w", err)
	}
	return parseMounts(string(text)), nil
}

var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// parseMounts reads proc(5)'s mountinfo: id, parent, device, root, mount point
// and options, optional fields, a dash, then type, source and the file
// system's own options.
func parseMounts(text string) (out []mount) {
	for line := range strings.Lines(text) {
		before, after, ok := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 6 || len(right) < 3 {
			continue
		}
		out = append(out, mount{
			id: left[0], at: unescape.Replace(left[4]), kind: right[0],
			readOnly: has(left[5], "ro") || has(right[2], "ro"),
			ours:     (right[1] == ourMount || right[1] == "none") && has(right[2], ourMode),
		})
	}
	return out
}

func has(options, want string) bool {
	for o := range strings.SplitSeq(options, ",") {
		if o == want {
			return true
		}
	}
	return false
}

// id is the number by which the kernel knows a folder of the tree, given as an
// absolute path.
func (t tree) id(at string) (uint64, error) {
	folder, err := filepath.Rel(t.root, at)
	if err != nil {
		return 0, err
	}
	id, ok, err := cgroup.ID(t.root, folder)
	if err == nil && !ok {
		err = fmt.Errorf("cgroup %s is gone", at)
	}
	return id, err
}
