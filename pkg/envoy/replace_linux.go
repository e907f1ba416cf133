package envoy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
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
	f, err := p.want(old.limits)
	if err != nil {
		return nil, err
	}
	if err := p.makeFolders(); err != nil { // its user may be another one now
		return nil, err
	}
	if f.Binary == p.cfg.Binary {
		version, err := CheckAs(ctx, f.Binary, f.User)
		if err != nil {
			return nil, err
		}
		p.note(func(s *Status) { s.Version = version })
	}
	if err := p.judge(ctx, f); err != nil {
		return nil, err
	}
	if err := p.canHandOver(ctx, old, f); err != nil {
		p.log.Warn("envoy cannot be replaced without a gap, and is stopped and started", "pid", old.pid, "because", err)
		p.stop(ctx, old)
		return p.launch(watching, nil)
	}
	next, err := p.launch(watching, old)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, liveTime)
	defer cancel()
	tick := time.NewTicker(livePoll)
	defer tick.Stop()
	for {
		if info, err := p.serverInfo(ctx); err == nil && info.pid == next.pid && info.live {
			p.removeBootstraps(value(next.args, configFlag), value(old.args, configFlag))
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
func (p *Process) judge(ctx context.Context, f form) error {
	if err := p.writeBootstrap(f); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, judgeTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, binaryOf(p.held, f, 3), "--mode", "validate", configFlag, value(f.Args, configFlag),
		"--disable-hot-restart", "--log-level", "error", "--log-format", "%v")
	cmd.Dir, cmd.SysProcAttr, cmd.ExtraFiles = "/", f.User.credential(), p.inherits()
	cmd.WaitDelay = pipeTime
	out := &head{max: 4 << 10}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s does not take its bootstrap: %w: %s", f.Binary, err, firstLine(out.text))
	}
	return nil
}

// inherits is what a child that runs a form's binary needs, see binaryOf.
func (p *Process) inherits() []*os.File {
	if p.held == nil {
		return nil
	}
	return []*os.File{p.held}
}

// canHandOver fails unless an Envoy of that form can take over from old, which
// says what they must have in common.
func (p *Process) canHandOver(ctx context.Context, old *running, f form) error {
	if !p.worksAtHome(old.pid) {
		return errors.New("it has its sockets where those of now do not look")
	}
	now, err := p.serverInfo(ctx)
	if err != nil || now.pid != old.pid || now.live {
		if err := p.clearInitializing(); err != nil {
			p.log.Warn("that a former start of envoy came to nothing could not be noted", "error", err)
		}
	}
	if err != nil || now.pid != old.pid {
		return nil // the next one will find out
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, binaryOf(p.held, f, 3), "--hot-restart-version")
	cmd.SysProcAttr, cmd.ExtraFiles = f.User.credential(), p.inherits()
	text, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("ask %s what it can take over: %w", f.Binary, err)
	}
	if can := strings.TrimSpace(string(text)); can != now.hot {
		return fmt.Errorf("the one that runs hands over as %s, %s takes over as %s", now.hot, f.Binary, can)
	}
	return nil
}

// sharedMemory is where the Envoys of one base id, which Envoy multiplies, share
// what they count.
func (p *Process) sharedMemory() string {
	return fmt.Sprintf("/dev/shm/envoy_shared_memory_%d", 10*uint64(baseID(p.cfg.Dir)))
}

// clearInitializing takes back what an Envoy notes while it starts, in the
// memory that all of its base id share. One that died of its start has left it
// there, and no other could take over ever after. Nobody starts when it is
// called. Source: SharedMemory of Envoy's hot_restart_impl.h, whose first word
// is its size and whose last are the flags; their only one is this.
func (p *Process) clearInitializing() error {
	f, err := os.OpenFile(p.sharedMemory(), os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	const word, initializing = 8, 1
	var first, last [word]byte
	if _, err := f.ReadAt(first[:], 0); err != nil {
		return err
	}
	size := int64(binary.NativeEndian.Uint64(first[:]))
	info, err := f.Stat()
	if err != nil || size != info.Size() || size > 1<<10 {
		return errors.Join(err, fmt.Errorf("%s is not as it should be", f.Name()))
	}
	if _, err := f.ReadAt(last[:], size-word); err != nil || binary.NativeEndian.Uint64(last[:]) != initializing {
		return err
	}
	_, err = f.WriteAt(make([]byte, word), size-word)
	return err
}

// removeFiles removes what Envoy and its starts leave. None runs any more.
func (p *Process) removeFiles() {
	p.removeBootstraps()
	for _, pattern := range []string{
		p.sharedMemory(),
		filepath.Join(p.home(), hotSocket+"_*"),
		filepath.Join(p.cfg.Dir, hotSocket+"_*"), // of agents before

		filepath.Join(p.cfg.Dir, logPrefix+"*"+logSuffix),
		filepath.Join(p.cfg.Dir, "launch.lock"),
		p.cfg.AdminSocket,
		p.home(),
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
