package envoy

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// childAttr gives Envoy a process group of its own, so that Ctrl-C on our
// terminal does not end it undrained, and has the kernel kill it when we die.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// raiseFileLimit lets Envoy open as many files as its hard limit says: a
// connection is a file or two, and the usual soft limit is 1024.
func raiseFileLimit(pid int) error {
	var l unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &l); err != nil {
		return fmt.Errorf("read the limit: %w", err)
	}
	if l.Cur == l.Max {
		return nil
	}
	l.Cur = l.Max
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &l, nil); err != nil {
		return fmt.Errorf("raise it to %d: %w", l.Max, err)
	}
	return nil
}
