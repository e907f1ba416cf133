package agent

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/pkg/keyfile"
	units "github.com/weft-mesh/weft/pkg/systemd"
)

// An Agent is one host's: it holds the host's files and serves its workloads.
type Agent struct {
	version string
	log     *slog.Logger

	// Source is where a configuration comes from while the agent runs; the zero
	// value: nowhere.
	Source Source
	// Tail is the end of the log, for bundles; nil: nobody keeps it.
	Tail *Tail

	readied chan struct{} // closed once the host was ready, or waited for that too long
	sockets *units.Store  // which queries wait in while no agent is there

	mu     sync.Mutex
	cfg    Config // in force
	served []*served
	change changeStatus
}

// New makes an agent of a joined host's configuration. It starts nothing, and
// fails where a workload has not joined.
func New(cfg Config, version string, log *slog.Logger) (*Agent, error) {
	a := &Agent{
		cfg: cfg, version: version, log: log, readied: make(chan struct{}),
		sockets: units.OpenStore(log.With("part", "systemd")),
	}
	a.change.Since = time.Now()
	for _, c := range cfg.Workloads() {
		s, err := a.serve(c)
		if err != nil {
			return nil, err
		}
		a.served = append(a.served, s)
	}
	a.retain()
	return a, nil
}

// retain gives up the sockets of workloads that are not served any more, and of
// addresses that they have no more.
func (a *Agent) retain() {
	var names []string
	for _, s := range a.all() {
		names = append(names, s.present().dns.SocketNames()...)
	}
	a.sockets.Retain(names)
}

// Run keeps the host in the mesh until ctx ends, then returns nil. It fails
// when another agent has the same files, and when the one workload of a host
// cannot be served; of several, one that fails is tried again. The redirection
// stays in force when it returns.
func (a *Agent) Run(ctx context.Context) error {
	if err := keyfile.Passage(a.cfg.RunDir); err != nil {
		return err
	}
	held, err := takeLock(a.cfg.StateDir)
	if err != nil {
		return err
	}
	defer held.release()
	for _, s := range a.served {
		defer s.release()
		if err := s.prepare(ctx); err != nil {
			return err
		}
	}
	staySmall()
	for _, l := range tightLimits("self") {
		a.log.Warn("agent has too little to be sure of", "what", l.text, "remedy", l.remedy)
	}
	a.log.Info("agent started", "version", a.version, "workloads", len(a.served))
	g, ctx := errgroup.WithContext(ctx)
	for _, part := range []func(context.Context) error{a.serveStatus, a.serveReady, a.tellSystemd, a.rest} {
		g.Go(func() error { return part(ctx) })
	}
	for _, s := range a.served {
		a.start(ctx, g, s)
	}
	g.Go(func() error { return a.follow(ctx, g) })
	if err := g.Wait(); err != nil {
		return err
	}
	a.log.Info("agent stopped")
	return nil
}

// served is one workload while it is of this agent.
type served struct {
	a    *Agent
	held *lock // of a listed one's files
	stop context.CancelCauseFunc
	done chan struct{} // closed when it has stopped

	mu    sync.Mutex
	cfg   Config // in force
	w     *Workload
	fault error // why it does not run
}

func (a *Agent) serve(cfg Config) (*served, error) {
	w, err := a.workload(cfg)
	if err != nil {
		return nil, err
	}
	return &served{a: a, cfg: cfg, w: w, done: make(chan struct{})}, nil
}

func (a *Agent) workload(cfg Config) (*Workload, error) {
	log := a.log
	if cfg.listed {
		log = log.With("workload", cfg.Workload)
	}
	w, err := newWorkload(cfg, a.version, a.sockets, log)
	if err != nil && cfg.listed {
		err = fmt.Errorf("%s: %w", cfg.place(), err)
	}
	return w, err
}

// prepare finds what would fail later, before anything of the workload runs.
func (s *served) prepare(ctx context.Context) (err error) {
	if s.cfg.listed && s.held == nil {
		if s.held, err = takeLock(s.cfg.StateDir); err != nil {
			return fmt.Errorf("%s: %w", s.cfg.place(), err)
		}
	}
	if err := s.present().prepare(ctx); err != nil {
		if s.cfg.listed {
			err = fmt.Errorf("%s: %w", s.cfg.place(), err)
		}
		return err
	}
	return nil
}

func (s *served) release() {
	s.present().endNames()
	s.held.release()
	s.held = nil
}

func (s *served) present() *Workload {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w
}

// start runs a prepared workload in g until ctx ends or it is stopped.
func (a *Agent) start(ctx context.Context, g *errgroup.Group, s *served) {
	ctx, s.stop = context.WithCancelCause(ctx)
	g.Go(func() error {
		defer close(s.done)
		defer s.stop(nil)
		return s.run(ctx)
	})
}

// How long a workload that failed waits until it is tried again.
const (
	againAfter  = time.Second
	againAtMost = 30 * time.Second
)

// run serves the workload. Of several, one that fails takes none with it.
func (s *served) run(ctx context.Context) error {
	wait := againAfter
	for {
		began := time.Now()
		err := s.present().run(ctx)
		if ctx.Err() == nil && s.a.alone() {
			return err
		}
		if time.Since(began) > againAtMost {
			wait = againAfter
		}
		for err != nil && ctx.Err() == nil {
			s.failed(err, wait)
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return nil
			}
			wait = min(2*wait, againAtMost)
			err = s.again(ctx)
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was told to end
		}
	}
}

func (s *served) failed(err error, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = err
	s.a.log.Error("workload failed, trying again", "workload", s.cfg.Workload, "dataplane", s.cfg.Name, "error", err, "after", wait)
}

// again makes the workload anew.
func (s *served) again(ctx context.Context) error {
	w, err := s.a.workload(s.config())
	if err != nil {
		return err
	}
	if err := w.prepare(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.w, s.fault = w, nil
	return nil
}

func (s *served) config() Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cfg
}

func (a *Agent) alone() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.served) == 1
}

// all are the workloads of now.
func (a *Agent) all() []*served {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.served)
}
