package envoy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// exitKilled is the exit of who got SIGKILL, also from the kernel.
const exitKilled = "signal: killed"

// exitUnknown is the exit of a process that was not our child, on a kernel that
// tells that to parents alone.
const exitUnknown = "unknown"

// watch begins to watch a process that is or becomes the Envoy of that epoch,
// until ctx ends.
func (p *Process) watch(ctx context.Context, pid, epoch int) (*running, error) {
	fail := func(err error) (*running, error) { return nil, fmt.Errorf("watch Envoy (pid %d): %w", pid, err) }
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return fail(err)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	r := &running{pid: pid, epoch: epoch, gone: make(chan struct{}), left: make(chan struct{}), signal: func(s os.Signal) error {
		sig, ok := s.(syscall.Signal)
		if !ok {
			return fmt.Errorf("signal %v: not one of this system", s)
		}
		return unix.PidfdSendSignal(fd, sig, nil, 0)
	}}
	// From here on the number is this process's, or it has ended.
	if r.since, err = startOf(pid); err != nil {
		_ = f.Close()
		return fail(err)
	}
	var lines *tail
	path, err := p.logOf(pid, r.epoch)
	if err == nil {
		lines, err = p.follow(ctx, path)
	}
	if err != nil {
		_ = f.Close()
		return fail(err)
	}
	go func() {
		defer f.Close()
		if !ended(ctx, f) {
			lines.leave()
			close(r.left)
			return
		}
		r.exit = exitOf(pid, fd)
		lines.finish()
		close(r.gone)
	}()
	return r, nil
}

// ended waits for the end of a process, and returns false where ctx ended
// before.
func ended(ctx context.Context, pidfd *os.File) bool {
	raw, err := pidfd.SyscallConn()
	if err != nil {
		return false
	}
	stop := context.AfterFunc(ctx, func() { _ = pidfd.SetReadDeadline(time.Now()) })
	defer stop()
	err = raw.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return err == nil && n > 0
	})
	return err == nil
}

// pidfdInfo is struct pidfd_info of linux/pidfd.h, in its first version.
type pidfdInfo struct {
	mask, cgroup             uint64
	pid, tgid, ppid          uint32
	ruid, rgid, euid, egid   uint32
	suid, sgid, fsuid, fsgid uint32
	exit                     int32
}

const (
	pidfdGetInfo  = 0xc040ff0b // _IOWR(0xff, 11, struct pidfd_info)
	pidfdInfoExit = 1 << 3     // since Linux 6.15
)

// exitOf tells how a process ended that need not have been our child: its
// parent may not have asked yet, and then /proc has it; else the kernel keeps
// it with the descriptor.
func exitOf(pid, fd int) string {
	if fields, err := statOf(pid); err == nil && fields[0] == "Z" {
		if code, err := strconv.Atoi(fields[49]); err == nil {
			return exitText(syscall.WaitStatus(code))
		}
	}
	info := pidfdInfo{mask: pidfdInfoExit}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), pidfdGetInfo, uintptr(unsafe.Pointer(&info)))
	if errno == 0 && info.mask&pidfdInfoExit != 0 {
		return exitText(syscall.WaitStatus(info.exit))
	}
	return exitUnknown
}

func exitText(s syscall.WaitStatus) string {
	switch {
	case s.Exited():
		return fmt.Sprintf("exit status %d", s.ExitStatus())
	case s.Signaled() && s.CoreDump():
		return "signal: " + s.Signal().String() + " (core dumped)"
	case s.Signaled():
		return "signal: " + s.Signal().String()
	default:
		return fmt.Sprintf("status %#x", int(s))
	}
}

// statOf is what /proc/PID/stat has behind the name of the program: the first
// is the state, see proc_pid_stat(5), whose third that is.
func statOf(pid int) ([]string, error) {
	text, err := os.ReadFile(procFile(pid, "stat"))
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 50 {
		return nil, fmt.Errorf("%s has %d fields", procFile(pid, "stat"), len(fields))
	}
	return fields, nil
}

// ticks are how many of the kernel's clock, in /proc, are a second on every
// machine that Linux runs on.
const ticks = 100

// startOf is when a process started.
func startOf(pid int) (time.Time, error) {
	fields, err := statOf(pid)
	if err != nil {
		return time.Time{}, err
	}
	if fields[0] == "Z" {
		return time.Time{}, fs.ErrNotExist
	}
	n, err := strconv.ParseInt(fields[19], 10, 64)
	if err != nil {
		return time.Time{}, err
	}
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return time.Time{}, err
	}
	return time.Now().Add(time.Duration(n)*(time.Second/ticks) - time.Duration(up.Nano())), nil
}

// arguments are those of a process, without its name.
func arguments(pid int) ([]string, error) {
	text, err := os.ReadFile(procFile(pid, "cmdline"))
	if err != nil {
		return nil, err
	}
	words := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
	if len(words) < 2 {
		return nil, errors.New("it has no arguments")
	}
	return words[1:], nil
}

func procFile(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}
