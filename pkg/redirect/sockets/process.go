package sockets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A Process is one of this host, as far as the rules can tell it from others.
type Process struct {
	PID  int    `json:"pid"`
	Name string `json:"name"`
	UID  uint32 `json:"uid"` // effective
	GID  uint32 `json:"gid"` // alike
	// Cgroup is its folder of the cgroup v2 tree, from the tree's root; "" is
	// the root, or that there is no such tree.
	Cgroup string `json:"cgroup,omitempty"`
	// Elsewhere tells that it is in another network namespace than the caller.
	Elsewhere bool `json:"elsewhere,omitempty"`
}

func (p Process) String() string { return fmt.Sprintf("%s (pid %d)", p.Name, p.PID) }

// ErrNoProcess: no process has that number.
var ErrNoProcess = errors.New("no such process")

// Look reads what /proc says of a process.
func Look(pid int) (Process, error) {
	p := Process{PID: pid}
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if errors.Is(err, fs.ErrNotExist) {
		return p, fmt.Errorf("process %d: %w", pid, ErrNoProcess)
	}
	if err != nil {
		return p, fmt.Errorf("look at process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		switch words := strings.Fields(value); key {
		case "Name":
			p.Name = strings.TrimSpace(value)
		case "Uid":
			p.UID = effective(words)
		case "Gid":
			p.GID = effective(words)
		}
	}
	groups, err := os.ReadFile(filepath.Join(dir, "cgroup"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return p, fmt.Errorf("look at process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(groups)) {
		if path, ok := strings.CutPrefix(line, "0::/"); ok {
			p.Cgroup = strings.TrimSuffix(path, "\n")
		}
	}
	own, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return p, fmt.Errorf("look at the own network namespace: %w", err)
	}
	theirs, err := os.Readlink(filepath.Join(dir, "ns", "net"))
	p.Elsewhere = err == nil && theirs != own
	return p, nil
}

// effective is the second of real, effective, saved and file-system id.
func effective(words []string) uint32 {
	if len(words) < 2 {
		return 0
	}
	id, err := strconv.ParseUint(words[1], 10, 32)
	if err != nil {
		return 0
	}
	return uint32(id)
}

// Parent is the number of a process's parent; 0 where it has none.
func Parent(pid int) int {
	// The name, in parentheses, may hold anything; proc_pid_stat(5).
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	text := string(stat)
	words := strings.Fields(text[strings.LastIndex(text, ")")+1:])
	if len(words) < 2 {
		return 0
	}
	parent, err := strconv.Atoi(words[1])
	if err != nil {
		return 0
	}
	return parent
}

// A Descriptor is by which a process holds a socket.
type Descriptor struct{ PID, FD int }

// HoldersOf is Holders of these sockets.
func HoldersOf(all []Socket) (map[uint32][]Descriptor, error) {
	inodes := make([]uint32, len(all))
	for i, s := range all {
		inodes[i] = s.Inode
	}
	return Holders(inodes...)
}

// Holders finds who holds sockets, by inode. Who may not be looked at is left
// out, and so is who ended meanwhile.
func Holders(inodes ...uint32) (map[uint32][]Descriptor, error) {
	wanted := make(map[string]uint32, len(inodes))
	for _, inode := range inodes {
		if inode != 0 {
			wanted[fmt.Sprintf("socket:[%d]", inode)] = inode
		}
	}
	out := make(map[uint32][]Descriptor)
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("look at processes: %w", err)
	}
	for _, p := range processes {
		pid, err := strconv.Atoi(p.Name())
		if err != nil {
			continue
		}
		for _, d := range held(pid, wanted) {
			out[d.inode] = append(out[d.inode], d.Descriptor)
		}
	}
	return out, nil
}

type holding struct {
	Descriptor
	inode uint32
}

func held(pid int, wanted map[string]uint32) (out []holding) {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	open, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer open.Close()
	names, err := open.Readdirnames(-1)
	if err != nil {
		return nil
	}
	for _, name := range names {
		target, err := os.Readlink(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		inode, ok := wanted[target]
		fd, err := strconv.Atoi(name)
		if ok && err == nil {
			out = append(out, holding{Descriptor{pid, fd}, inode})
		}
	}
	return out
}

// HeldBy finds the descriptor by which one process holds a socket.
func HeldBy(pid int, inode uint32) (Descriptor, bool) {
	if inode == 0 {
		return Descriptor{}, false
	}
	all := held(pid, map[string]uint32{fmt.Sprintf("socket:[%d]", inode): inode})
	if len(all) == 0 {
		return Descriptor{}, false
	}
	return all[0].Descriptor, true
}
