//go:build linux

package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect/cgroup"
)

// A socket is whose who made it and connected it, and a process has one user
// and one cgroup. So there is a child for each identity: this program again, told by its
// environment. It makes the sockets, sends them to its parent, connects them
// when it is told to, and ends with the connection to its parent.

// childEnv tells a program that it is a child of a probe. Its value is who it
// is to be.
const childEnv = "WEFT_PROBE_AS"

// childLink is the descriptor by which a child speaks with its parent.
const childLink = 3

// maxMessage bounds a message between them, in bytes.
const maxMessage = 1 << 17

// Child runs a child of a probe, where this process is one, and reports
// whether it was. Programs that probe call it before all else.
func Child() (was bool, code int) {
	who := os.Getenv(childEnv)
	if who == "" {
		return false, 0
	}
	if err := child(who); err != nil {
		_ = unix.Send(childLink, []byte("e"+err.Error()), unix.MSG_NOSIGNAL)
		return true, 1
	}
	return true, 0
}

func child(who string) error {
	var uid, gid int
	if _, err := fmt.Sscanf(who, "%d %d", &uid, &gid); err != nil {
		return fmt.Errorf("%s: %w", childEnv, err)
	}
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(gid, gid, gid), syscall.Setresuid(uid, uid, uid)); err != nil {
		return fmt.Errorf("become user %d, group %d: %w", uid, gid, err)
	}
	var sockets []socket
	if err := hear(childLink, &sockets); err != nil {
		return err
	}
	fds := make([]int, len(sockets))
	for i, s := range sockets {
		fd, err := s.open()
		if err != nil {
			return err
		}
		fds[i] = fd
		if err := unix.Sendmsg(childLink, []byte{'s'}, unix.UnixRights(fd), nil, 0); err != nil {
			return err
		}
	}
	var to []socket
	if err := hear(childLink, &to); err != nil {
		return err
	}
	errs := make([]int, len(to))
	for i, s := range to {
		err := s.start(fds[i])
		if errno, ok := errors.AsType[syscall.Errno](err); ok {
			errs[i] = int(errno)
		}
	}
	if err := tell(childLink, errs); err != nil {
		return err
	}
	_, _ = unix.Read(childLink, make([]byte, 1)) // until the parent is done, or gone
	return nil
}

func tell(fd int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := unix.Send(fd, b, unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("speak with a process of the probe: %w", err)
	}
	return nil
}

func hear(fd int, v any) error {
	b := make([]byte, maxMessage)
	n, err := unix.Read(fd, b)
	if err != nil {
		return fmt.Errorf("hear of a process of the probe: %w", err)
	}
	if n == 0 {
		return errors.New("hear of a process of the probe: it has ended")
	}
	if b[0] == 'e' {
		return errors.New(string(b[1:n]))
	}
	return json.Unmarshal(b[:n], v)
}

// A caller makes and connects sockets as somebody.
type caller interface {
	open(sockets []socket) ([]int, error)
	// start connects all; one error each.
	start(sockets []socket) ([]error, error)
	close()
}

// here is this process.
type here struct{ fds []int }

func (h *here) open(sockets []socket) ([]int, error) {
	for _, s := range sockets {
		fd, err := s.open()
		if err != nil {
			return nil, err
		}
		h.fds = append(h.fds, fd)
	}
	return h.fds, nil
}

func (h *here) start(sockets []socket) ([]error, error) {
	errs := make([]error, len(sockets))
	for i, s := range sockets {
		errs[i] = s.start(h.fds[i])
	}
	return errs, nil
}

func (h *here) close() {
	for _, fd := range h.fds {
		_ = unix.Close(fd)
	}
}

// another is a child that has become somebody.
type another struct {
	cmd  *exec.Cmd
	link int
	fds  []int
	made string // a cgroup to remove
}

// become starts a child in the network namespace of the calling thread.
func become(ctx context.Context, who identity) (_ *another, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("start a process of the probe: %w", err)
	}
	a := &another{link: pair[0]}
	theirs := os.NewFile(uintptr(pair[1]), "link")
	defer theirs.Close()
	a.cmd = exec.CommandContext(ctx, "/proc/self/exe")
	a.cmd.Env = []string{fmt.Sprintf("%s=%d %d", childEnv, who.uid, who.gid)}
	a.cmd.Dir = "/"
	a.cmd.ExtraFiles = []*os.File{theirs}
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if who.cgroup != "" {
		root, err := cgroup.Root()
		if err != nil {
			return nil, errors.Join(err, unix.Close(a.link))
		}
		if err := a.startIn(filepath.Join(root, who.cgroup)); err != nil {
			return nil, errors.Join(fmt.Errorf("start a process in cgroup %s: %w", who.cgroup, err), unix.Close(a.link))
		}
		return a, nil
	}
	if err := a.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start a process of the probe: %w", err), unix.Close(a.link))
	}
	return a, nil
}

// startIn starts the child in a cgroup, or in one beneath it where it may have
// no processes itself.
func (a *another) startIn(dir string) error {
	start := func(dir string) error {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		a.cmd.SysProcAttr.UseCgroupFD, a.cmd.SysProcAttr.CgroupFD = true, fd
		return a.cmd.Start()
	}
	err := start(dir)
	if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	beneath := filepath.Join(dir, fmt.Sprint("weft-probe-", os.Getpid()))
	if err := os.Mkdir(beneath, 0o755); err != nil {
		return err
	}
	a.made = beneath
	again := *a.cmd // a Cmd starts once
	a.cmd = &exec.Cmd{Path: again.Path, Args: again.Args, Env: again.Env, Dir: again.Dir, ExtraFiles: again.ExtraFiles, SysProcAttr: again.SysProcAttr}
	if err := start(beneath); err != nil {
		return errors.Join(err, os.Remove(beneath))
	}
	return nil
}

func (a *another) open(sockets []socket) ([]int, error) {
	if err := tell(a.link, sockets); err != nil {
		return nil, err
	}
	for range sockets {
		b, oob := make([]byte, 1024), make([]byte, unix.CmsgSpace(4))
		n, oobn, _, _, err := unix.Recvmsg(a.link, b, oob, unix.MSG_CMSG_CLOEXEC)
		switch {
		case err != nil || n == 0:
			return nil, errors.Join(errors.New("a process of the probe has ended"), err)
		case b[0] == 'e':
			return nil, errors.New(string(b[1:n]))
		}
		messages, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil || len(messages) != 1 {
			return nil, fmt.Errorf("take a socket of a process of the probe: %w", err)
		}
		fds, err := unix.ParseUnixRights(&messages[0])
		if err != nil || len(fds) != 1 {
			return nil, fmt.Errorf("take a socket of a process of the probe: %w", err)
		}
		a.fds = append(a.fds, fds[0])
	}
	return a.fds, nil
}

func (a *another) start(sockets []socket) ([]error, error) {
	if err := tell(a.link, sockets); err != nil {
		return nil, err
	}
	var said []int
	if err := hear(a.link, &said); err != nil {
		return nil, err
	}
	errs := make([]error, len(sockets))
	for i, errno := range said {
		if errno != 0 {
			errs[i] = syscall.Errno(errno)
		}
	}
	return errs, nil
}

func (a *another) close() {
	for _, fd := range a.fds {
		_ = unix.Close(fd)
	}
	_ = unix.Close(a.link) // and so the child ends
	_ = a.cmd.Wait()
	if a.made != "" {
		_ = os.Remove(a.made)
	}
}
