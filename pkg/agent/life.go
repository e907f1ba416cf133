package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/weft-mesh/weft/pkg/envoy"
	"github.com/weft-mesh/weft/pkg/envoy/bootstrap"
	units "github.com/weft-mesh/weft/pkg/systemd"
)

// ErrDrain is the cause of the end of Run's context where the host is to leave
// its callers in peace: peers are told, what is under way ends, and Envoy is
// stopped. Where there is another cause Envoy goes on serving, for the next
// agent to take it back.
var ErrDrain = errors.New("drain")

const (
	// tellTime is how long the control plane may take to hear that the host
	// is not ready any more. It may be away.
	tellTime = 2 * time.Second
	// registerTime is how long it may take to register at all.
	registerTime = 30 * time.Second
	// vanishTime is how long peers take to hear of it: changes are gathered
	// for 100 ms and pushed at once.
	vanishTime = 600 * time.Millisecond
	// stopTime is how long the parts of a stopped Envoy take beside its drain.
	stopTime = 10 * time.Second
)

// stays tells whether Envoy is to go on after this agent. A process of number 1
// takes all others with it, and so does a host that stops.
func (w *Workload) stays(ctx context.Context) bool {
	if errors.Is(context.Cause(ctx), ErrDrain) || !w.cfg.KeepEnvoy || os.Getpid() == 1 {
		return false
	}
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	stopping, err := units.Stopping(asking)
	if err != nil {
		w.log.Warn("whether the host stops is not known", "error", err)
	}
	return !stopping
}

// drain has nobody notice that the workload goes: peers stop calling it, then
// what is under way ends, then Envoy is stopped. The parts go on meanwhile.
func (w *Workload) drain(ctx context.Context) {
	if !w.cfg.Gateway {
		w.goes.Store(true)
		if err := w.tellDataplane(ctx, tellTime); err != nil {
			w.log.Warn("peers were not told that this host goes: they find out by failing", "error", err)
		} else if w.now.Load().DrainTime > 0 {
			select {
			case <-time.After(vanishTime):
			case <-ctx.Done():
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, w.now.Load().DrainTime+stopTime)
	defer cancel()
	if err := w.envoy.Stop(ctx); err != nil {
		w.log.Error("envoy was not stopped", "error", err)
	}
}

// leaveMesh ends Envoy once the host is none of the mesh's any more: what is under
// way ends, and connections that stand on certificates of before with it. The
// redirection stays, so that nothing goes around.
func (w *Workload) leaveMesh(ctx context.Context) error {
	for {
		select {
		case <-w.putOut:
		case <-ctx.Done():
			return nil
		}
		w.goes.Store(true)
		within, cancel := context.WithTimeout(ctx, w.cfg.DrainTime+stopTime)
		if err := w.envoy.Stop(within); err != nil {
			w.log.Error("envoy of a host that was put out was not stopped", "error", err)
		}
		cancel()
	}
}

// comeUp has peers call the workload when its Envoy can take the calls.
func (w *Workload) comeUp(ctx context.Context) error {
	for _, done := range []<-chan struct{}{w.relay.Synced(), w.applied} {
		select {
		case <-done:
		case <-ctx.Done():
			return nil
		}
	}
	if was := w.up.Swap(true); !was && !w.cfg.Gateway {
		w.tellOn(ctx, nil)
	}
	return nil
}

// tellDataplane has the control plane take the Dataplane of now.
func (w *Workload) tellDataplane(ctx context.Context, within time.Duration) error {
	w.telling.Lock() // so that the last word is the newest
	defer w.telling.Unlock()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	conn, err := w.identity.Dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return w.identity.Register(ctx, conn, w.document())
}

// envoyConfig is how the workload's Envoy is run by a configuration.
func (w *Workload) envoyConfig(c *Config) envoy.Config {
	limit := c.memoryLimit()
	e := c.envoy(w.user.Load(), w.bootstrap(*c))
	e.Keep = c.envoyFile()
	e.Log = w.log.With("part", "envoy")
	if units.Running() {
		scope := units.Scope{
			Name:        "weft-envoy-" + c.Name + ".scope",
			Description: fmt.Sprintf("Envoy of dataplane %s in mesh %s", c.Name, c.Mesh),
			Slice:       "weft.slice",
			Before:      []string{"weft-agent.service"},
			MemoryMax:   limit,
			StopTime:    c.DrainTime + stopTime,
		}
		if c.RedirectCgroup != "" { // the ebpf engine must see Envoy
			scope.Slice = filepath.Base(c.RedirectCgroup)
		}
		e.Settle = scope.Take
	} else {
		e.Cgroup, e.Memory = c.cgroup(), limit
	}
	return e
}

// bootstrap is what Envoy starts from. It may have what is configured, and no
// more than its cgroup.
func (w *Workload) bootstrap(c Config) envoy.Bootstrap {
	return func(l envoy.Limits) ([]byte, error) {
		limit := c.memoryLimit()
		if limit == 0 || l.Memory > 0 && l.Memory < limit {
			limit = l.Memory
		}
		return bootstrap.JSON(bootstrap.Config{
			ID:          w.identity.ID(),
			Service:     c.Service,
			XDSSocket:   c.xdsSocket(),
			SDSSocket:   c.xdsSocket(),
			AdminSocket: c.adminSocket(),

			LogsSocket:    c.logsSocket(),
			MetricsSocket: c.metricsSocket(),
			Resolver:      c.envoyResolver(),
			Memory:        limit,
		})
	}
}

// envoy is what is needed to run, find or stop the workload's Envoy.
func (c *Config) envoy(u *envoy.User, bootstrap envoy.Bootstrap) envoy.Config {
	drain := c.DrainTime
	if drain == 0 {
		drain = -1 // without a word
	}
	return envoy.Config{
		Binary:      c.envoyBinary(),
		Bootstrap:   bootstrap,
		User:        u,
		Dir:         c.RunDir,
		AdminSocket: c.adminSocket(),
		Concurrency: c.EnvoyConcurrency,
		LogLevel:    c.EnvoyLogLevel,
		FileLimit:   c.EnvoyFiles,
		DrainTime:   drain,
		ChangeTime:  c.ChangeTime,
	}
}

// cgroup is the folder that Envoy has where no systemd gives it one: beneath
// the agent's own, so that whoever sees the agent sees Envoy.
func (c *Config) cgroup() string {
	own := ownCgroup()
	if own == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(c.RunDir))
	return filepath.Join(own, "weft-envoy-"+c.Name+"-"+hex.EncodeToString(sum[:3]))
}

// stopEnvoy drains and stops the workload's Envoy where no agent serves it.
func (c *Config) stopEnvoy(ctx context.Context) error {
	e := c.envoy(nil, nil)
	e.Cgroup = c.cgroup()
	return envoy.New(e).Stop(ctx)
}

// Stop ends the agent that runs on cfg's files, and Envoys whether one runs or
// not: peers are told first, and what is under way ends. The redirection stays
// in force.
func Stop(ctx context.Context, cfg Config, log *slog.Logger) error {
	held, err := stopRunning(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer held.release()
	var errs []error
	for _, w := range cfg.Workloads() {
		errs = append(errs, w.stopEnvoy(ctx))
	}
	return errors.Join(errs...)
}
