package agent

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// leaveProgram unmaps the pages of the program itself, which the kernel maps by
// 64 KiB around each that is used: a start touches all of it, and the rest a
// small part. What is used again comes back from the page cache. Only
// mappings that nobody has ever written to are left: the others are not on disk.
func leaveProgram() error {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	maps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return err
	}
	defer maps.Close()
	var errs []error
	var m mapping
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		line := lines.Text()
		if next, ok := mappingOf(line); ok {
			m = next
			continue
		}
		if rest, ok := strings.CutPrefix(line, "Anonymous:"); ok && m.path == program && m.perms[1] != 'w' && strings.TrimSpace(rest) == "0 kB" {
			if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED); errno != 0 {
				errs = append(errs, fmt.Errorf("give back %x-%x: %w", m.from, m.to, errno))
			}
		}
	}
	return errors.Join(errs...)
}

// A mapping is one line of /proc/PID/smaps that begins one. Source: proc(5).
type mapping struct {
	from, to uintptr
	perms    string
	path     string
}

func mappingOf(line string) (m mapping, ok bool) {
	f := strings.Fields(line)
	if len(f) < 6 || len(f[1]) != 4 {
		return m, false
	}
	if n, err := fmt.Sscanf(f[0], "%x-%x", &m.from, &m.to); n != 2 || err != nil {
		return m, false
	}
	m.perms, m.path = f[1], strings.Join(f[5:], " ")
	return m, true
}
