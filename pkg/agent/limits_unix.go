//go:build unix

package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
)

// stayBelow has the agent's memory be collected sooner where its cgroup has
// little, so that the kernel does not kill it. GOMEMLIMIT goes before it.
func stayBelow() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	least := uint64(1 << 40)
	for _, l := range cgroupLimits("self") {
		if l.file != "pids.max" && l.value > 0 {
			least = min(least, l.value)
		}
	}
	if least < 1<<40 {
		debug.SetMemoryLimit(int64(least / 4 * 3)) // the rest is stacks' and the kernel's
	}
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

// limitsOfAgent is what the kernel bounds the running agent by.
func limitsOfAgent(ctx context.Context, cfg Config) ([]byte, error) {
	pid := FetchStatus(ctx, cfg).PID
	if pid == 0 {
		return nil, errors.New("the agent does not run")
	}
	var b bytes.Buffer
	for _, file := range []string{"limits", "cgroup", "status"} {
		text, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), file))
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%s:\n%s\n", file, text)
	}
	for _, l := range cgroupLimits(fmt.Sprint(pid)) {
		fmt.Fprintf(&b, "%s %d\n", l.file, l.value)
	}
	return b.Bytes(), nil
}
