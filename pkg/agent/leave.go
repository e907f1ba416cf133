package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/weft-mesh/weft/pkg/agent/identity"
	"github.com/weft-mesh/weft/pkg/agent/relay"
	"github.com/weft-mesh/weft/pkg/envoy"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// Leave undoes what Join and Run did, in the order in which nobody notices:
// peers stop calling, the redirection goes, then the agent and its Envoys, then
// the files. What a control plane that does not answer keeps is logged.
func Leave(ctx context.Context, cfg Config, log *slog.Logger) error {
	all := cfg.Workloads()
	for _, w := range all {
		if err := w.open(ctx, log); err != nil {
			return err
		}
	}
	held, err := stopRunning(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer held.release()
	var errs []error
	for _, w := range all {
		errs = append(errs, w.stopEnvoy(ctx), w.forget())
	}
	held.beforeRemoval()
	return errors.Join(append(errs,
		removeFiles(cfg.RunDir, cfg.statusSocket()),
		removeFiles(filepath.Join(cfg.StateDir, "workloads")),
		removeFiles(cfg.StateDir, filepath.Join(cfg.StateDir, "lock")),
	)...)
}

// LeaveOne is Leave for one workload of the list. written takes it out of the
// file, by which an agent that runs lets go of it; the others are left alone.
func LeaveOne(ctx context.Context, cfg Config, written func() error, log *slog.Logger) error {
	if err := cfg.open(ctx, log); err != nil {
		return err
	}
	if err := written(); err != nil {
		return err
	}
	held, err := awaitLock(ctx, cfg)
	if err != nil {
		return err
	}
	defer held.release()
	err = cfg.stopEnvoy(ctx)
	held.beforeRemoval()
	return errors.Join(err, cfg.forget())
}

// open has peers and the kernel know that a workload is in the mesh no more.
func (c *Config) open(ctx context.Context, log *slog.Logger) error {
	if err := deregister(ctx, *c, log); err != nil {
		log.Warn("the Dataplane was left behind: peers go on calling this host until it is deleted", "error", err,
			"remedy", fmt.Sprintf("weftctl delete dataplane %s --mesh %s", c.Name, c.Mesh))
	}
	if err := RemoveRedirection(ctx, *c); err != nil {
		return fmt.Errorf("take the redirection off: %w", err)
	}
	return nil
}

// forget removes the files of a workload that nobody serves any more.
func (c *Config) forget() error {
	files := append([]string{c.switchFile(), c.lastRulesFile()}, envoy.KeptFiles(c.envoyFile())...)
	if c.listed {
		files = append(files, filepath.Join(c.StateDir, "lock"))
	}
	return errors.Join(
		c.removeIdentity(),
		removeFiles(c.RunDir, c.xdsSocket(), c.adminSocket()),
		relay.RemoveCache(c.cacheDir()),
		removeFiles(c.StateDir, files...),
	)
}

// awaitLock takes the lock of a workload as soon as the agent lets go of it.
func awaitLock(ctx context.Context, cfg Config) (*lock, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.DrainTime+20*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		held, err := takeLock(cfg.StateDir)
		running, is := errors.AsType[errRunning](err)
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		if !is {
			return held, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("the agent (pid %d) did not let go of %s: restart it, then remove %s", running.pid, cfg.place(), cfg.StateDir)
		}
	}
}

func deregister(ctx context.Context, cfg Config, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	id, err := cfg.openIdentity(log)
	if errors.Is(err, identity.ErrNotJoined) {
		return nil
	}
	if err != nil {
		return err
	}
	id.Addresses, id.Mark, id.Log = cfg.ControlPlanes, proxy.MarkAgent, log
	conn, err := id.Dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return id.Leave(ctx, conn)
}

// stopRunning drains and ends the agent that holds the lock, if one does, and takes the
// lock. The lock names the process, and holds as long as that lives.
func stopRunning(ctx context.Context, cfg Config, log *slog.Logger) (*lock, error) {
	if _, err := os.Stat(cfg.StateDir); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.DrainTime+20*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	told := 0
	for {
		held, err := takeLock(cfg.StateDir)
		var running errRunning
		if !errors.As(err, &running) {
			return held, err
		}
		if running.pid > 0 && running.pid != told {
			log.Info("stopping the agent", "pid", running.pid)
			if err := endProcess(running.pid); err != nil {
				return nil, fmt.Errorf("stop the agent (pid %d): %w", running.pid, err)
			}
			told = running.pid
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("the agent (pid %d) did not stop: end it, then leave again", running.pid)
		}
	}
}

// removeFiles deletes files and then dir where that is empty.
func removeFiles(dir string, files ...string) error {
	var errs []error
	for _, f := range files {
		if err := os.Remove(f); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if left, err := os.ReadDir(dir); err == nil && len(left) == 0 {
		errs = append(errs, os.Remove(dir))
	}
	return errors.Join(errs...)
}
