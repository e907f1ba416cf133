//go:build linux

// Package cgroup finds folders of the cgroup v2 tree, by which redirection
// tells processes.
//
// Rules name folders by their paths from the tree's root. The kernel knows them
// by ids, and a folder that is made anew, as systemd does for each start of a
// unit, has another.
package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// Root is where the tree is mounted: /sys/fs/cgroup, or
// /sys/fs/cgroup/unified beside version 1. It is redirect.ErrNotSupported where
// there is none.
func Root() (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("find the cgroup v2 tree: %w", err)
	}
	defer f.Close()
	root, err := find(f)
	if err != nil {
		return "", fmt.Errorf("find the cgroup v2 tree: %w", err)
	}
	return root, nil
}

// find reads mountinfo, see proc_pid_mountinfo(5): the mount point is the fifth
// word, the type the first after a lone dash.
func find(mountinfo io.Reader) (string, error) {
	lines := bufio.NewScanner(mountinfo)
	for lines.Scan() {
		mount, kind, ok := strings.Cut(lines.Text(), " - ")
		words := strings.Fields(mount)
		if ok && len(words) >= 5 && strings.HasPrefix(kind, "cgroup2 ") {
			return unescape.Replace(words[4]), nil
		}
	}
	if err := lines.Err(); err != nil {
		return "", err
	}
	return "", fmt.Errorf("%w: no cgroup2 is mounted, so that processes cannot be told by unit or cgroup; tell them by user or group, or boot with systemd.unified_cgroup_hierarchy=1",
		redirect.ErrNotSupported)
}

var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// ID is the kernel's id of a folder, by its path from the tree's root. There is
// none, and no error, where the folder is not there.
func ID(root, path string) (id uint64, ok bool, err error) {
	info, err := os.Stat(filepath.Join(root, path))
	if gone(err) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("look at cgroup %s: %w", path, err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return stat.Ino, ok && info.IsDir(), nil
}

// gone says that a folder is not there. ENODEV is of one that goes meanwhile.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.ENOTDIR)
}

// IDs are the kernel's ids of folders by their paths. A folder that is not
// there is missing.
func IDs(root string, paths []string) (map[string]uint64, error) {
	ids := make(map[string]uint64, len(paths))
	for _, p := range paths {
		id, ok, err := ID(root, p)
		if err != nil {
			return nil, err
		}
		if ok {
			ids[p] = id
		}
	}
	return ids, nil
}
