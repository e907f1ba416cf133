package envoy

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// noLimit is from where on a number of version 1 means none: the kernel writes
// the largest that fits.
const noLimit = 1 << 60

// limitsOf reads what the cgroup of a process, and those above it, let it have.
func limitsOf(pid int) Limits {
	l := Limits{Cores: 1}
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(pid, &set); err == nil {
		l.Cores = max(1, set.Count())
	}
	memory, quota := uint64(math.MaxUint64), math.Inf(1)
	for _, c := range cgroupsOf(pid) {
		for _, dir := range c.upwards() {
			var n uint64
			var per float64
			for _, file := range []string{"memory.max", "memory.limit_in_bytes"} {
				if c.reads(dir, file, &n) == nil && n > 0 && n < noLimit {
					memory = min(memory, n)
				}
			}
			var used float64
			if c.reads(dir, "cpu.max", &used, &per) == nil && per > 0 {
				quota = min(quota, used/per)
			}
			if errors.Join(c.reads(dir, "cpu.cfs_quota_us", &used), c.reads(dir, "cpu.cfs_period_us", &per)) == nil && used > 0 && per > 0 {
				quota = min(quota, used/per)
			}
		}
	}
	if memory != math.MaxUint64 {
		l.Memory = memory
	}
	if !math.IsInf(quota, 1) {
		l.Cores = min(l.Cores, max(1, int(math.Ceil(quota))))
	}
	return l
}

// A cgroupOf is one that a process is in.
type cgroupOf struct {
	root string // of its tree
	path string // from there
}

// cgroupsOf are those of a process that bound memory or processors.
func cgroupsOf(pid int) (all []cgroupOf) {
	text, err := os.ReadFile(procFile(pid, "cgroup"))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 || strings.HasPrefix(parts[2], "/..") { // outside of what we see
			continue
		}
		roots := []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}
		if parts[0] != "0" {
			roots = nil
			names := strings.Split(parts[1], ",")
			if !slices.Contains(names, "memory") && !slices.Contains(names, "cpu") {
				continue // none that limits what is asked about
			}
			if len(names) > 1 {
				names = append(names, parts[1])
			}
			for _, name := range names {
				roots = append(roots, filepath.Join("/sys/fs/cgroup", name))
			}
		}
		for _, root := range roots {
			all = append(all, cgroupOf{root, parts[2]})
		}
	}
	return all
}

// upwards are its folder and those above it.
func (c cgroupOf) upwards() (dirs []string) {
	for p := c.path; ; p = filepath.Dir(p) {
		dirs = append(dirs, filepath.Join(c.root, p))
		if p == "/" || p == "." {
			return dirs
		}
	}
}

// reads scans a file of one; "max" is no number, and so an error.
func (cgroupOf) reads(dir, file string, into ...any) error {
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return err
	}
	_, err = fmt.Sscan(string(text), into...)
	return err
}
