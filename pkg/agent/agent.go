package agent

import (
	"context"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/pkg/keyfile"
)

// An Agent is one host's: it holds the host's files and serves its workloads.
type Agent struct {
	cfg     Config
	version string
	log     *slog.Logger

	workloads []*Workload
}

// New makes an agent of a joined host's configuration. It starts nothing, and
// fails where a workload has not joined.
func New(cfg Config, version string, log *slog.Logger) (*Agent, error) {
	a := &Agent{cfg: cfg, version: version, log: log}
	for _, c := range cfg.workloads() {
		w, err := newWorkload(c, version, log)
		if err != nil {
			return nil, err
		}
		a.workloads = append(a.workloads, w)
	}
	return a, nil
}

// Run keeps the host in the mesh until ctx ends, then returns nil. It fails
// when another agent has the same files, and when a workload cannot be served.
// The redirection stays in force when it returns.
func (a *Agent) Run(ctx context.Context) error {
	if err := keyfile.Dir(a.cfg.RunDir); err != nil {
		return err
	}
	held, err := takeLock(a.cfg.StateDir)
	if err != nil {
		return err
	}
	defer held.release()
	for _, w := range a.workloads {
		if err := w.prepare(ctx); err != nil {
			return err
		}
	}
	a.log.Info("agent started", "version", a.version)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.serveStatus(ctx) })
	for _, w := range a.workloads {
		g.Go(func() error { return w.run(ctx) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	a.log.Info("agent stopped")
	return nil
}
