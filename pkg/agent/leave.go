package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/pkg/agent/identity"
	"github.com/weft-mesh/weft/pkg/agent/relay"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// Leave undoes what Join and Run did, in the order in which nobody notices:
// peers stop calling, the redirection goes, then the agent and its Envoy, then
// the files. What a control plane that does not answer keeps is logged.
func Leave(ctx context.Context, cfg Config, log *slog.Logger) error {
	if err := deregister(ctx, cfg, log); err != nil {
		log.Warn("the Dataplane was left behind: peers go on calling this host until it is deleted", "error", err,
			"remedy", fmt.Sprintf("weftctl delete dataplane %s --mesh %s", cfg.Name, cfg.Mesh))
	}
	if err := RemoveRedirection(ctx, cfg); err != nil {
		return fmt.Errorf("take the redirection off: %w", err)
	}
	held, err := stopRunning(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer held.release()
	return errors.Join(
		identity.Remove(cfg.StateDir),
		removeFiles(cfg.RunDir, cfg.xdsSocket(), cfg.adminSocket(), cfg.statusSocket(), cfg.bootstrapFile()),
		relay.RemoveCache(cfg.cacheDir()),
		removeFiles(cfg.StateDir, filepath.Join(cfg.StateDir, "lock"), cfg.switchFile()),
	)
}

func deregister(ctx context.Context, cfg Config, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	id, err := identity.Open(cfg.StateDir)
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

// stopRunning ends the agent that holds the lock, if one does, and takes the
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
			if err := syscall.Kill(running.pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
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
	err := os.Remove(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ENOTEMPTY) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
