//go:build unix

package dns

import "golang.org/x/sys/unix"

// files is how many files this process may have open.
func files() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil || l.Cur > 1<<20 {
		return 1 << 20
	}
	return int(l.Cur)
}
