package envoy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	// liveTime is how long the next Envoy may take to serve. The former serves
	// meanwhile.
	liveTime = 30 * time.Second
	livePoll = 50 * time.Millisecond
	// judgeTime is how long Envoy may take to judge a bootstrap.
	judgeTime = 20 * time.Second
)

// replace starts the Envoy that takes old's place: it takes over its listening
// sockets, then has it drained and ended. Where it fails, old serves on.
func (p *Process) replace(ctx, watching context.Context, old *running) (*running, error) {
	if err := p.judge(ctx); err != nil {
		return nil, err
	}
	now, err := p.serverInfo(ctx)
	if err == nil && now.pid == old.pid {
		if err := p.canTakeOver(ctx, now.hot); err != nil {
			p.log.Warn("envoy cannot be replaced without a gap, and is stopped and started", "pid", old.pid, "because", err)
			p.stop(ctx, old)
			return p.launch(watching, 0)
		}
	}
	next, err := p.launch(watching, old.epoch+1)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, liveTime)
	defer cancel()
	tick := time.NewTicker(livePoll)
	defer tick.Stop()
	for {
		if info, err := p.serverInfo(ctx); err == nil && info.pid == next.pid && info.live {
			p.removeBootstraps(p.bootstrapPath(), value(old.args, configFlag))
			return next, nil
		}
		select {
		case <-next.gone:
			return nil, fmt.Errorf("the next one ended with %s; the agent's log has its words", next.exit)
		case <-old.gone:
			p.end(next)
			return nil, errors.New("it died meanwhile")
		case <-p.stopping:
			p.end(next)
			return nil, errors.New("it is being stopped")
		case <-ctx.Done():
			p.end(next)
			return nil, fmt.Errorf("the next one did not serve within %s", liveTime)
		case <-tick.C:
		}
	}
}

// judge has Envoy itself say whether it would take the bootstrap.
func (p *Process) judge(ctx context.Context) error {
	if err := p.writeBootstrap(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, judgeTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.cfg.Binary, "--mode", "validate", configFlag, p.bootstrapPath(),
		"--disable-hot-restart", "--log-level", "error", "--log-format", "%v")
	cmd.Dir = p.cfg.Dir
	cmd.WaitDelay = pipeTime
	out := &head{max: 4 << 10}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s does not take its bootstrap: %w: %s", p.cfg.Binary, err, firstLine(out.text))
	}
	return nil
}

// canTakeOver fails unless the binary can take over from an Envoy that says
// what it must have in common.
func (p *Process) canTakeOver(ctx context.Context, hot string) error {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	text, err := exec.CommandContext(ctx, p.cfg.Binary, "--hot-restart-version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("ask %s what it can take over: %w", p.cfg.Binary, err)
	}
	if can := strings.TrimSpace(string(text)); can != hot {
		return fmt.Errorf("the one that runs hands over as %s, %s takes over as %s", hot, p.cfg.Binary, can)
	}
	return nil
}

// removeFiles removes what Envoy and its starts leave. None runs any more.
func (p *Process) removeFiles() {
	p.removeBootstraps()
	shared := fmt.Sprintf("/dev/shm/envoy_shared_memory_%d", 10*uint64(baseID(p.cfg.Dir)))
	for _, pattern := range []string{
		shared,
		filepath.Join(p.cfg.Dir, hotSocket+"_*"),
		filepath.Join(p.cfg.Dir, logPrefix+"*"+logSuffix),
		filepath.Join(p.cfg.Dir, "launch.lock"),
		p.cfg.AdminSocket,
	} {
		files, _ := filepath.Glob(pattern)
		for _, f := range files {
			if err := os.Remove(f); err != nil && !errors.Is(err, os.ErrNotExist) {
				p.log.Warn("what envoy left could not be removed", "error", err)
			}
		}
	}
	p.removeCgroup()
}
