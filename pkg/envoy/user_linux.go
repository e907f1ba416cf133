package envoy

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// credential has a child run as the user, with nothing of what it may do beyond
// that.
func (u *User) credential() *syscall.SysProcAttr {
	if u == nil {
		return new(syscall.SysProcAttr)
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(u.UID), Gid: uint32(u.GID)}}
}

// become makes this thread the user's, for good. The thread is to exec then.
func (u *User) become() error {
	if u == nil {
		return nil
	}
	runtime.LockOSThread() // capabilities are a thread's
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var may [2]unix.CapUserData
	if err := unix.Capget(&hdr, &may[0]); err != nil {
		return fmt.Errorf("see what may be done: %w", err)
	}
	var keep [2]unix.CapUserData
	var kept []int
	for _, c := range u.Capabilities {
		if bit := uint32(1) << (c % 32); may[c/32].Permitted&bit != 0 {
			keep[c/32].Permitted |= bit
			kept = append(kept, c)
		}
	}
	for c := 0; unix.Prctl(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0) == nil; c++ {
		if !slices.Contains(kept, c) {
			// Fails without CAP_SETPCAP; NO_NEW_PRIVS has the same effect.
			_ = unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0)
		}
	}
	if err := errors.Join(
		unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0),
		syscall.Setgroups(nil),
		syscall.Setresgid(u.GID, u.GID, u.GID),
		syscall.Setresuid(u.UID, u.UID, u.UID),
	); err != nil {
		return fmt.Errorf("become user %s: %w", u, err)
	}
	for i := range keep {
		keep[i].Effective, keep[i].Inheritable = keep[i].Permitted, keep[i].Permitted
	}
	if err := unix.Capset(&hdr, &keep[0]); err != nil {
		return fmt.Errorf("keep what user %s may do: %w", u, err)
	}
	for _, c := range kept {
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(c), 0, 0); err != nil {
			return fmt.Errorf("hand capability %d over: %w", c, err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("gain nothing more: %w", err)
	}
	return nil
}

// own gives an open file to the user.
func (u *User) own(f *os.File) error {
	if u == nil {
		return nil
	}
	return f.Chown(u.UID, u.GID)
}

// makeFolders makes Dir and the folder in it that Envoy works in.
func (p *Process) makeFolders() error {
	if err := os.MkdirAll(p.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("make its folder: %w", err)
	}
	info, err := os.Stat(p.cfg.Dir)
	if err != nil {
		return fmt.Errorf("make its folder: %w", err)
	}
	mode := info.Mode().Perm() | 0o700
	if mode&0o066 != 0 {
		mode = 0o700
	}
	if p.cfg.User != nil {
		mode |= 0o011
		if err := reachable(filepath.Dir(p.cfg.Dir), p.cfg.User); err != nil {
			return err
		}
	}
	if err := os.Chmod(p.cfg.Dir, mode); err != nil {
		return fmt.Errorf("close its folder to others: %w", err)
	}
	if err := os.Mkdir(p.home(), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make its folder: %w", err)
	}
	return nil
}

// reachable fails where the user cannot get to a folder, with the one that
// keeps him out.
func reachable(dir string, u *User) error {
	for ; dir != "/" && dir != "."; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return nil
		}
		enter := os.FileMode(0o001)
		switch {
		case int(st.Uid) == u.UID:
			enter = 0o100
		case int(st.Gid) == u.GID:
			enter = 0o010
		}
		if info.Mode().Perm()&enter == 0 {
			return fmt.Errorf("user %s, whom Envoy runs as, cannot get through %s: chmod o+x %[2]s, or choose another run folder, or another user", u, dir)
		}
	}
	return nil
}

// giveHome makes the folder that Envoy works in the user's alone or, while one
// of another user goes on in it, theirs both.
func giveHome(dir string, u, former *User) error {
	if os.Geteuid() != 0 {
		return os.Chmod(dir, 0o700)
	}
	if u == nil {
		u = &User{} // root
	}
	owner, mode := u.UID, os.FileMode(0o700)
	if former != nil && former.UID != u.UID {
		owner, mode = former.UID, 0o770
	}
	if err := os.Lchown(dir, owner, u.GID); err != nil {
		return fmt.Errorf("give envoy its folder: %w", err)
	}
	return os.Chmod(dir, mode)
}

// giveMemory gives the memory that Envoys share to the user of the next one.
func (p *Process) giveMemory(u *User) error {
	if os.Geteuid() != 0 {
		return nil
	}
	if u == nil {
		u = &User{}
	}
	if err := os.Lchown(p.sharedMemory(), u.UID, u.GID); err != nil {
		return fmt.Errorf("give envoy the memory that it shares: %w", err)
	}
	return nil
}

// ownerOf is who a process runs as, nil where that is who runs this program.
func ownerOf(pid int) (*User, error) {
	info, err := os.Stat(procFile(pid, ""))
	if err != nil {
		return nil, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) == os.Geteuid() {
		return nil, nil
	}
	return &User{UID: int(st.Uid), GID: int(st.Gid), Capabilities: capabilitiesOf(pid)}, nil
}

// capabilitiesOf is what a process may do beyond its user.
func capabilitiesOf(pid int) (all []int) {
	text, err := os.ReadFile(procFile(pid, "status"))
	if err != nil {
		return nil
	}
	_, rest, _ := strings.Cut(string(text), "\nCapEff:\t")
	line, _, _ := strings.Cut(rest, "\n")
	set, err := strconv.ParseUint(line, 16, 64)
	for c := 0; err == nil && c < 64; c++ {
		if set&(1<<c) != 0 {
			all = append(all, c)
		}
	}
	return all
}

// nameOf is what a user is called.
func nameOf(u *User) string {
	uid := os.Geteuid()
	if u != nil {
		uid = u.UID
	}
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}
