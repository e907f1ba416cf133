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
	p.limitCgroup()
	attr.UseCgroupFD, attr.CgroupFD = true, int(dir.Fd())
	return func() { _ = dir.Close() }
}

// limitCgroup gives Envoy's cgroup the limit of now, where it has one.
func (p *Process) limitCgroup() {
	if p.cfg.Cgroup == "" || p.cfg.Memory == 0 && !p.limited {
		return
	}
	p.limited = true
	file, limit := filepath.Join(p.cfg.Cgroup, "memory.max"), "max"
	if p.cfg.Memory > 0 {
		limit = strconv.FormatUint(p.cfg.Memory, 10)
	}
	if err := os.WriteFile(file, []byte(limit), 0); err != nil && p.cfg.Memory > 0 {
		p.log.Warn("envoy's memory could not be limited", "error", err)
	}
}

func (p *Process) removeCgroup() {
	if p.cfg.Cgroup == "" {
		return
	}
	if err := os.Remove(p.cfg.Cgroup); err != nil && !errors.Is(err, os.ErrNotExist) {
		p.log.Debug("envoy's cgroup could not be removed", "error", err)
	}
}

// oomKills are the counters of kills for want of memory around a process, by
// file. Its own cgroup may be gone when it is asked, so those above count as
// well, and the host's own, which tells of those that no cgroup counts.
type oomKills map[string]int64

// oomKills reads them as they are now.
func (p *Process) oomKills(pid int) oomKills {
	counts := oomKills{}
	for _, c := range cgroupsOf(pid) {
		for _, dir := range c.upwards() {
			if dir == c.root && c.path != "/" {
				continue // too far away
			}
			for _, name := range []string{"memory.events", "memory.oom_control"} {
				file := filepath.Join(dir, name)
				if n, err := readOOM(file); err == nil {
					counts[file] = n
				}
			}
		}
	}
	if len(counts) == 0 {
		if n, err := readOOM(hostOOM); err == nil {
			counts[hostOOM] = n
		}
	}
	return counts
}

// hostOOM counts all kills for want of memory since the boot.
const hostOOM = "/proc/vmstat"

// risen tells whether one that can still be read has risen.
func (k oomKills) risen() bool {
	for file, before := range k {
		if n, err := readOOM(file); err == nil && n > before {
			return true
		}
	}
	return false
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
