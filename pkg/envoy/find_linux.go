package envoy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// find returns the Envoys that run on a bootstrap of this folder, and begins to
// watch them until ctx ends. The process table is the one record of them that
// can be neither torn nor old.
func (p *Process) find(ctx context.Context) ([]*running, error) {
	held, err := p.holdLaunch(ctx)
	if err != nil {
		return nil, err
	}
	defer held.Close()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("look for a running Envoy: %w", err)
	}
	var found []*running
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || !p.isOurs(pid) {
			continue
		}
		args, err := arguments(pid)
		if err != nil {
			continue
		}
		epoch, err := epochOf(args)
		if err != nil {
			continue
		}
		r, err := p.watch(ctx, pid, epoch)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ESRCH):
			continue // it has ended meanwhile
		case err != nil:
			return nil, err
		}
		if r.as, err = ownerOf(pid); err != nil || !p.isOurs(pid) { // the number was another's before
			continue
		}
		r.args, r.limits = args, limitsOf(pid)
		found = append(found, r)
	}
	return found, nil
}

// Runs tells whether an Envoy of this folder runs, whoever started it.
func (p *Process) Runs() bool {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		pid, err := strconv.Atoi(e.Name())
		return err == nil && p.isOurs(pid)
	})
}

// isOurs tells whether a process is an Envoy that a Process of this folder
// started: by its arguments, which name a bootstrap in it and the base id, by
// its user, who is to be the owner of that, and by its working folder.
func (p *Process) isOurs(pid int) bool {
	args, err := arguments(pid)
	if err != nil || filepath.Dir(value(args, configFlag)) != filepath.Clean(p.cfg.Dir) ||
		value(args, "--base-id") != strconv.FormatUint(uint64(baseID(p.cfg.Dir)), 10) {
		return false
	}
	if _, err := epochOf(args); err != nil || slices.Contains(args, "--mode") {
		return false
	}
	if stat, err := statOf(pid); err != nil || stat[0] == "Z" {
		return false
	}
	if u, err := ownerOf(pid); err != nil || u != nil && u.UID != 0 && !u.owns(value(args, configFlag)) {
		return false
	}
	dir, err := os.Readlink(procFile(pid, "cwd"))
	if errors.Is(err, fs.ErrPermission) {
		return true // only who may trace it can tell
	}
	here, _ := filepath.EvalSymlinks(p.cfg.Dir)
	return err == nil && (dir == filepath.Join(here, Home) || dir == here) // the latter of agents before
}

// worksAtHome tells whether a process works in the folder in which those of now do.
func (p *Process) worksAtHome(pid int) bool {
	dir, err := os.Readlink(procFile(pid, "cwd"))
	here, _ := filepath.EvalSymlinks(p.home())
	return err != nil || dir == here
}

// owns tells whether a file is the user's. Only this program can have given it
// a bootstrap.
func (u *User) owns(path string) bool {
	info, err := os.Lstat(path)
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == u.UID
}

// outdated says why r is to be replaced; "" is not at all.
func (p *Process) outdated(ctx context.Context, r *running) string {
	f, err := p.want(r.limits)
	if err != nil {
		p.log.Error("what envoy is to be cannot be told", "error", err)
		return ""
	}
	if !slices.Equal(withoutEpoch(r.args), f.Args) {
		return "its bootstrap or its options have changed"
	}
	if other, err := otherBinary(r.pid, f.Binary); err != nil {
		p.log.Warn("whether envoy's binary has changed cannot be told", "pid", r.pid, "error", err)
	} else if other {
		return "its binary has changed"
	}
	// One that has just been started takes a moment until it answers.
	late := time.After(infoTime)
	tick := time.NewTicker(livePoll)
	defer tick.Stop()
	for {
		info, err := p.serverInfo(ctx)
		switch {
		case err == nil && info.pid == r.pid && info.epoch == r.epoch:
			return ""
		case err == nil:
			err = fmt.Errorf("it belongs to pid %d, epoch %d", info.pid, info.epoch)
		}
		select {
		case <-tick.C:
		case <-r.gone:
			return ""
		case <-late:
			return "its admin socket does not answer: " + err.Error()
		}
	}
}

// fileID is the same for a file that nobody has written to or put in the place of another.
func fileID(info os.FileInfo) string {
	id := fmt.Sprint(info.Size(), info.ModTime().UnixNano(), info.Mode())
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		id += fmt.Sprint(" ", st.Dev, st.Ino, st.Ctim.Nano())
	}
	return id
}

// heldPath is by which name this process has a file open.
func heldPath(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// otherBinary tells whether a process runs another program than the file at
// path has now.
func otherBinary(pid int, path string) (bool, error) { return otherFile(procFile(pid, "exe"), path) }

// A serverInfo is who answers at the admin socket, and what of.
type serverInfo struct {
	pid   int // of who listens there
	epoch int
	live  bool
	// hot names what two Envoys must have in common for one to take over.
	hot string
}

// infoTime is how long Envoy may take to say who it is.
const infoTime = 3 * time.Second

func (p *Process) serverInfo(ctx context.Context) (serverInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, infoTime)
	defer cancel()
	var s serverInfo
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "unix", p.cfg.AdminSocket)
			if err == nil {
				s.pid = listenerOf(conn)
			}
			return conn, err
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://envoy/server_info", nil)
	if err != nil {
		return s, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	var doc struct {
		State   string `json:"state"`
		Hot     string `json:"hot_restart_version"`
		Options struct {
			Epoch int `json:"restart_epoch"`
		} `json:"command_line_options"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&doc); err != nil {
		return s, fmt.Errorf("read /server_info: %w", err)
	}
	s.epoch, s.live, s.hot = doc.Options.Epoch, doc.State == "LIVE", doc.Hot
	return s, nil
}

// listenerOf is the process that listens at the other end of a unix socket, as
// the kernel noted when it began to; 0 where it does not say.
func listenerOf(conn net.Conn) (pid int) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	return pid
}
