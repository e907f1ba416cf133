//go:build unix

package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

func systemVersion() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown system"
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}

// fewFiles is below how many open files agent and Envoy have too few: each
// connection is one or two.
const fewFiles = 1024

// scarce is below how much memory, in bytes, an agent has too little.
const scarce = 48 << 20

// examineLimits looks at what bounds the agent that runs, else this process.
func examineLimits(_ context.Context, p patient) (checks []Check) {
	pid := "self"
	if p.status.PID != 0 {
		pid = fmt.Sprint(p.status.PID)
	}
	for _, l := range tightLimits(pid) {
		checks = append(checks, ill(l.remedy, "%s", l.text)...)
	}
	if len(checks) == 0 {
		return fine("files, processes and memory suffice")
	}
	return checks
}

type tight struct{ text, remedy string }

// tightLimits tells what a process has too little of. Where the kernel does not
// tell there is nothing.
func tightLimits(pid string) (all []tight) {
	if text, err := os.ReadFile(filepath.Join("/proc", pid, "limits")); err == nil {
		for line := range strings.Lines(string(text)) {
			rest, ok := strings.CutPrefix(line, "Max open files")
			var soft uint64
			if n, err := fmt.Sscan(rest, &soft); ok && err == nil && n == 1 && soft < fewFiles {
				all = append(all, tight{fmt.Sprintf("may have %d files open, and each connection takes one or two: those beyond are refused", soft), "raise it: LimitNOFILE= in the unit, ulimit -n in a shell"})
			}
		}
	}
	for _, l := range cgroupLimits(pid) {
		switch l.file {
		case "memory.max", "memory.limit_in_bytes":
			if l.value < scarce {
				all = append(all, tight{fmt.Sprintf("its cgroup has %d MiB of memory, and an agent needs %d: the kernel may kill it", l.value>>20, scarce>>20), "raise it: MemoryMax= in the unit"})
			}
		case "pids.max":
			if l.value < 64 {
				all = append(all, tight{fmt.Sprintf("its cgroup may have %d threads, and agent and Envoy need 64", l.value), "raise it: TasksMax= in the unit"})
			}
		}
	}
	return all
}

type limit struct {
	file  string
	value uint64
}

// cgroupLimits are those of a process's own cgroup, in version 2 and beside it.
func cgroupLimits(pid string) (all []limit) {
	text, err := os.ReadFile(filepath.Join("/proc", pid, "cgroup"))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(strings.TrimSpace(string(text))) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified", filepath.Join("/sys/fs/cgroup", f[1])} {
			for _, file := range []string{"memory.max", "memory.limit_in_bytes", "pids.max"} {
				var n uint64
				text, err := os.ReadFile(filepath.Join(root, f[2], file))
				if _, scan := fmt.Sscan(string(text), &n); err == nil && scan == nil {
					all = append(all, limit{file, n})
				}
			}
		}
	}
	return all
}

// fewBytes is below how much free space a folder is as good as full.
const fewBytes = 16 << 20

func examineDisk(_ context.Context, p patient) (checks []Check) {
	for _, dir := range []string{p.cfg.StateDir, p.cfg.RunDir} {
		var st unix.Statfs_t
		err := unix.Statfs(dir, &st)
		switch free := uint64(st.Bavail) * uint64(st.Bsize); {
		case errors.Is(err, fs.ErrNotExist):
			continue // made by join, or by the agent
		case err != nil:
			checks = append(checks, ill("see that it can be read", "%s: %s", dir, err)...)
		case free < fewBytes:
			checks = append(checks, ill("make room; the running agent goes on, but a restart would find less than it needs", "%s has %d MiB left", dir, free>>20)...)
		case st.Files > 0 && st.Ffree < 100:
			checks = append(checks, ill("remove files", "%s has %d inodes left", dir, st.Ffree)...)
		case unix.Access(dir, unix.W_OK) != nil:
			checks = append(checks, ill("mount it for writing (mount -o remount,rw), or give it to the agent's user", "%s cannot be written", dir)...)
		}
	}
	if len(checks) == 0 {
		return fine("%s and %s have room", p.cfg.StateDir, p.cfg.RunDir)
	}
	return checks
}
