//go:build !linux

package envoy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Elsewhere Envoy is a child of this program and ends with it; on Windows also
// where this is killed.
const (
	outlives    = false
	exitKilled  = "signal: killed"
	exitUnknown = "unknown"
)

// Launched does what this program was started for, where that is to start
// Envoy; here it never is.
func Launched() (was bool, code int) { return false, 0 }

func (p *Process) launch(ctx context.Context, _ *running) (*running, error) {
	l := Limits{Cores: runtime.NumCPU()}
	f, err := p.want(l)
	if err != nil {
		return nil, err
	}
	if err := p.writeBootstrap(f); err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	args := append(f.args(0), "--disable-hot-restart")
	cmd := exec.CommandContext(ctx, p.cfg.Binary, args...)
	cmd.Dir = p.home()
	out := &logLines{ctx: ctx, log: p.log}
	cmd.Stdout, cmd.Stderr = out, out // one writer: os/exec does not write concurrently
	cmd.WaitDelay = time.Second       // somebody else may hold its output open
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	untie, err := tie(cmd.Process)
	if err != nil {
		p.log.Warn("envoy will go on when the agent is killed: end it by hand then", "pid", cmd.Process.Pid, "error", err)
	}
	r := &running{pid: cmd.Process.Pid, args: args, limits: l, since: time.Now(), signal: cmd.Process.Signal, gone: make(chan struct{}), left: make(chan struct{})}
	go func() {
		err := cmd.Wait()
		untie()
		out.flush()
		r.exit = "exit status 0"
		if err != nil {
			r.exit = err.Error()
		}
		close(r.gone)
	}()
	return r, nil
}

func (p *Process) makeFolders() error {
	return errors.Join(os.MkdirAll(p.cfg.Dir, 0o700), os.MkdirAll(p.home(), 0o700))
}

func (u *User) credential() *syscall.SysProcAttr { return nil }

func (u *User) own(*os.File) error { return nil }

func giveHome(string, *User, *User) error { return nil }

func nameOf(*User) string { return "" }

func (p *Process) find(context.Context) ([]*running, error) { return nil, nil }

// Runs tells whether an Envoy of this folder runs, whoever started it.
func (p *Process) Runs() bool { return false }

func (p *Process) outdated(context.Context, *running) string { return "" }

func (p *Process) replace(context.Context, context.Context, *running) (*running, error) {
	return nil, errors.New("an Envoy takes over from another on Linux only")
}

func fileID(info os.FileInfo) string { return fmt.Sprint(info.Size(), info.ModTime(), info.Mode()) }

func heldPath(f *os.File) string { return f.Name() }

func otherBinary(int, string) (bool, error) { return false, nil }

func limitsOf(int) Limits { return Limits{Cores: runtime.NumCPU()} }

func procFile(int, string) string { return "" }

func limitFiles(int, uint64) error { return nil }

func (p *Process) limitCgroup() {}

func (p *Process) removeFiles() {
	p.removeBootstraps()
	_ = errors.Join(os.Remove(p.cfg.AdminSocket), os.Remove(p.home()))
}

type oomKills struct{}

func (p *Process) oomKills(int) oomKills { return oomKills{} }

func (oomKills) risen() bool { return false }
