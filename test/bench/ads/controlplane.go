//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A controlPlane is a weft-cp of ours, on ports of its own.
type controlPlane struct {
	binary, dir, hosts string
	log                io.Writer

	diagnostics string // host:port
	profiles    string // folder to write profiles to; "" writes none

	cmd   *exec.Cmd
	ended chan error
	rest  *http.Client
	roots *x509.CertPool
	token string
}

func startControlPlane(ctx context.Context, c config, dir string, log io.Writer) (*controlPlane, error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	other, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	cp := &controlPlane{binary: c.cp, dir: dir, hosts: fmt.Sprintf("127.0.0.1:%d", port), log: io.Discard,
		diagnostics: fmt.Sprintf("127.0.0.1:%d", other), profiles: c.profiles}
	if c.verbose {
		cp.log = log
	}
	cp.rest = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", cp.socket())
		},
		MaxIdleConnsPerHost: c.workers, MaxConnsPerHost: c.workers,
	}}
	if err := cp.start(ctx); err != nil {
		return nil, errors.Join(err, cp.stop())
	}
	return cp, nil
}

func (cp *controlPlane) socket() string { return filepath.Join(cp.dir, "api.sock") }

// freePort finds a port that nobody has at this moment.
func freePort(ctx context.Context) (int, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// start starts the program, also again, and waits until it is ready.
func (cp *controlPlane) start(ctx context.Context) error {
	cp.cmd = exec.CommandContext(ctx, cp.binary, "run", "--data-dir", filepath.Join(cp.dir, "data"), "--api-socket", cp.socket(),
		"--hosts-address", cp.hosts, "--api-address", "", "--api-tls-address", "", "--diagnostics-address", cp.diagnostics, "--debug-profiles="+strconv.FormatBool(cp.profiles != ""), "--advertise", cp.hosts)
	cp.cmd.Stdout, cp.cmd.Stderr = cp.log, cp.log
	cp.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cp.cmd.Start(); err != nil {
		return fmt.Errorf("start the control plane: %w; make build makes it", err)
	}
	cmd := cp.cmd
	ended := make(chan error, 1)
	cp.ended = ended
	go func() { ended <- cmd.Wait() }()
	return cp.await(ctx)
}

// await asks until the control plane answers, once in 5 ms.
func (cp *controlPlane) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := cp.call(ctx, http.MethodGet, "/meshes/default", nil, nil); err == nil {
			break
		}
		select {
		case <-tick.C:
		case err := <-cp.ended:
			cp.ended <- err
			return fmt.Errorf("the control plane ended: %w; -v shows its log", err)
		case <-ctx.Done():
			return fmt.Errorf("the control plane does not answer: %w", ctx.Err())
		}
	}
	pem, err := os.ReadFile(filepath.Join(cp.dir, "data", "ca.crt"))
	if err != nil {
		return err
	}
	cp.roots = x509.NewCertPool()
	if !cp.roots.AppendCertsFromPEM(pem) {
		return errors.New("the control plane's ca.crt holds no certificate")
	}
	return nil
}

func (cp *controlPlane) tls() *tls.Config {
	return &tls.Config{RootCAs: cp.roots, MinVersion: tls.VersionTLS13}
}

// kill ends it at once and waits for that.
func (cp *controlPlane) kill() error {
	if err := cp.cmd.Process.Kill(); err != nil {
		return err
	}
	ended := <-cp.ended
	cp.cmd = nil
	if ended == nil {
		return errors.New("the control plane ended well although it was killed")
	}
	return nil
}

func (cp *controlPlane) stop() error {
	if cp.cmd == nil || cp.cmd.Process == nil {
		return nil
	}
	err := cp.cmd.Process.Signal(syscall.SIGTERM)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	select {
	case ended := <-cp.ended:
		return errors.Join(err, ended)
	case <-time.After(10 * time.Second):
		return errors.Join(err, cp.kill())
	}
}

// call makes one REST call over the unix socket.
func (cp *controlPlane) call(ctx context.Context, method, path string, body, answer any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://weft"+path, in)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := cp.rest.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	if s, ok := answer.(*string); ok {
		*s = strings.TrimSpace(string(text))
	}
	return nil
}

// A cost is what a process has used.
type cost struct {
	cpu      time.Duration
	resident int // MB now
	peak     int // MB at most since its start
}

// cost reads /proc/<pid>/stat (in ticks of 10 ms, USER_HZ) and status.
func (cp *controlPlane) cost() (c cost, err error) {
	pid := cp.cmd.Process.Pid
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return c, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const utime, stime, tick = 11, 12, 10 * time.Millisecond // counted behind the name
	for _, i := range []int{utime, stime} {
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			return c, err
		}
		c.cpu += time.Duration(n) * tick
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return c, err
	}
	for line := range strings.Lines(string(status)) {
		var kb int
		if n, _ := fmt.Sscanf(line, "VmRSS: %d", &kb); n == 1 {
			c.resident = kb / 1024
		}
		if n, _ := fmt.Sscanf(line, "VmHWM: %d", &kb); n == 1 {
			c.peak = kb / 1024
		}
	}
	return c, nil
}

// profile writes a profile of the control plane under a phase's name: its CPU
// time while f runs, and its memory after it.
func (cp *controlPlane) profile(ctx context.Context, phase string, f func() error) error {
	if cp.profiles == "" {
		return f()
	}
	get := func(what, file string) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+cp.diagnostics+"/debug/pprof/"+what, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(cp.profiles, phase+"."+file), b, 0o600)
	}
	cpu := make(chan error, 1)
	go func() { cpu <- get("profile?seconds=5", "cpu") }()
	err := f()
	return errors.Join(err, <-cpu, get("heap?gc=1", "heap"))
}
