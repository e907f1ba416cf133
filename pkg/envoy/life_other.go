//go:build !linux

package envoy

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"time"
)

// Elsewhere Envoy is a child of this program and ends with it.
const (
	outlives   = false
	exitKilled = "signal: killed"
)

// Launched does what this program was started for, where that is to start
// Envoy; here it never is.
func Launched() (was bool, code int) { return false, 0 }

func (p *Process) launch(ctx context.Context, epoch int) (*running, error) {
	if err := p.writeBootstrap(); err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	args := append(p.args(epoch), "--disable-hot-restart")
	cmd := exec.CommandContext(ctx, p.cfg.Binary, args...)
	cmd.Dir = p.cfg.Dir
	out := &logLines{ctx: ctx, log: p.log}
	cmd.Stdout, cmd.Stderr = out, out // one writer: os/exec does not write concurrently
	cmd.WaitDelay = time.Second       // somebody else may hold its output open
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := &running{pid: cmd.Process.Pid, epoch: epoch, args: args, since: time.Now(), signal: cmd.Process.Signal, gone: make(chan struct{})}
	go func() {
		err := cmd.Wait()
		out.flush()
		r.exit = "exit status 0"
		if err != nil {
			r.exit = err.Error()
		}
		close(r.gone)
	}()
	return r, nil
}

func (p *Process) find(context.Context) ([]*running, error) { return nil, nil }

// Runs tells whether an Envoy of this folder runs, whoever started it.
func (p *Process) Runs() bool { return false }

func (p *Process) outdated(context.Context, *running) string { return "" }

func (p *Process) replace(context.Context, context.Context, *running) (*running, error) {
	return nil, errors.New("an Envoy takes over from another on Linux only")
}

func (p *Process) removeFiles() {
	p.removeBootstraps()
	_ = os.Remove(p.cfg.AdminSocket)
}

type oomKills struct{}

func (p *Process) oomKills(int) oomKills { return oomKills{} }

func (oomKills) risen() bool { return false }
