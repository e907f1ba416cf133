package envoy

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// enterCgroup has the child that attr is for start in Envoy's own cgroup, where
// one is configured and the kernel lets us. What it returns is to be called
// when the child has started.
func (p *Process) enterCgroup(attr *syscall.SysProcAttr) (leave func()) {
	nothing := func() {}
	if p.cfg.Cgroup == "" {
		return nothing
	}
	if err := os.Mkdir(p.cfg.Cgroup, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		p.log.Debug("envoy has no cgroup of its own", "error", err)
		return nothing
	}
	dir, err := os.Open(p.cfg.Cgroup)
	if err != nil {
		p.log.Debug("envoy has no cgroup of its own", "error", err)
		return nothing
	}
	if p.cfg.Memory > 0 {
		limit := filepath.Join(p.cfg.Cgroup, "memory.max")
		if err := os.WriteFile(limit, []byte(strconv.FormatUint(p.cfg.Memory, 10)), 0); err != nil {
			p.log.Warn("envoy's memory could not be limited", "error", err)
		}
	}
	attr.UseCgroupFD, attr.CgroupFD = true, int(dir.Fd())
	return func() { _ = dir.Close() }
}

func (p *Process) removeCgroup() {
	if p.cfg.Cgroup == "" {
		return
	}
	if err := os.Remove(p.cfg.Cgroup); err != nil && !errors.Is(err, os.ErrNotExist) {
		p.log.Debug("envoy's cgroup could not be removed", "error", err)
	}
}

// oomKills are the counters of kills for want of memory around a process. Its
// own cgroup may be gone when it is asked, so those above count as well.
type oomKills map[string]int64

// oomKills reads them as they are now.
func (p *Process) oomKills(pid int) oomKills {
	counts := oomKills{}
	text, err := os.ReadFile(procFile(pid, "cgroup"))
	if err != nil {
		return counts
	}
	for line := range strings.Lines(string(text)) {
		for _, file := range oomFiles(strings.TrimSpace(line)) {
			if n, err := readOOM(file); err == nil {
				counts[file] = n
			}
		}
	}
	return counts
}

// risen tells whether one that can still be read has risen.
func (k oomKills) risen() bool {
	for file, before := range k {
		if n, err := readOOM(file); err == nil && n > before {
			return true
		}
	}
	return false
}

// oomFiles are the files with counters for a line of /proc/PID/cgroup: of the
// cgroup and the one above it, but not of the root, which counts nothing.
func oomFiles(line string) (files []string) {
	parts := strings.SplitN(line, ":", 3)
	if len(parts) != 3 || parts[2] == "/" {
		return nil
	}
	var roots []string
	name := "memory.events"
	switch {
	case parts[0] == "0":
		roots = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}
	case parts[1] == "memory":
		roots, name = []string{"/sys/fs/cgroup/memory"}, "memory.oom_control"
	}
	for _, root := range roots {
		for _, dir := range []string{parts[2], filepath.Dir(parts[2])} {
			if dir != "/" {
				files = append(files, filepath.Join(root, dir, name))
			}
		}
	}
	return files
}

func readOOM(file string) (int64, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "oom_kill "); ok {
			return strconv.ParseInt(text, 10, 64)
		}
	}
	return 0, errors.Join(lines.Err(), os.ErrNotExist)
}
