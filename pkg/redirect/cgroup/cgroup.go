//go:build linux

// Package cgroup finds the folders of the cgroup v2 tree by which redirection
// tells processes.
//
// Rules name folders by their path; the kernel compares ids. A folder that is
// made anew, as systemd does when a unit starts again, has another id.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// Found is what is there of some paths at one moment.
type Found struct {
	Root string            // where the tree is mounted; "" where no paths were asked for
	IDs  map[string]uint64 // by path, from Root; a path that is not there is missing
}

// Find looks for paths from the tree's root, such as "system.slice/api.service".
// It is redirect.ErrNotSupported where there is no tree.
func Find(paths ...string) (Found, error) {
	if len(paths) == 0 {
		return Found{}, nil
	}
	root, err := Root()
	if err != nil {
		return Found{}, err
	}
	f := Found{Root: root, IDs: make(map[string]uint64, len(paths))}
	for _, p := range paths {
		info, err := os.Stat(filepath.Join(root, p))
		if gone(err) {
			continue
		}
		if err != nil {
			return Found{}, fmt.Errorf("look for cgroup %s: %w", p, err)
		}
		if s, ok := info.Sys().(*syscall.Stat_t); ok && info.IsDir() {
			f.IDs[p] = s.Ino
		}
	}
	return f, nil
}

// gone says that a path is not there. ENODEV is of one that goes meanwhile.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.ENOTDIR)
}

// mounts are told by proc_pid_mountinfo(5).
const mounts = "/proc/self/mountinfo"

// Root is where the cgroup v2 tree is mounted: /sys/fs/cgroup, or beneath it
// where version 1 is in use too.
func Root() (string, error) {
	b, err := os.ReadFile(mounts)
	if err != nil {
		return "", fmt.Errorf("look for the cgroup v2 tree: %w", err)
	}
	root, ok := rootIn(string(b))
	if !ok {
		return "", fmt.Errorf("%w: no cgroup v2 tree is mounted: mount -t cgroup2 none /sys/fs/cgroup/unified, or tell processes by user", redirect.ErrNotSupported)
	}
	return root, nil
}

func rootIn(mountinfo string) (string, bool) {
	const mountPoint = 4
	for line := range strings.Lines(mountinfo) {
		left, right, ok := strings.Cut(line, " - ")
		fields := strings.Fields(left)
		if ok && strings.HasPrefix(right, "cgroup2 ") && len(fields) > mountPoint {
			return unescape.Replace(fields[mountPoint]), true
		}
	}
	return "", false
}

// unescape undoes what the kernel does to paths in mountinfo.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
