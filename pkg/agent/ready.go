package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/weft-mesh/weft/pkg/envoy"
	units "github.com/weft-mesh/weft/pkg/systemd"
)

// ready tells why the workload cannot be used; nil is that it can.
func (w *Workload) ready(ctx context.Context) error {
	if w.goes.Load() {
		return errors.New("it is being drained")
	}
	if !w.relay.Status().Synced {
		return errors.New("no configuration has come for Envoy yet")
	}
	if err := envoy.NewAdmin(w.cfg.adminSocket()).Ready(ctx); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.redirected != nil {
		return fmt.Errorf("traffic is not redirected: %w", w.redirected)
	}
	return nil
}

// ready tells why the host cannot be used.
func (a *Agent) ready(ctx context.Context) error {
	var errs []error
	for _, s := range a.all() {
		if err := s.present().ready(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.cfg.Title(), err))
		}
	}
	return errors.Join(errs...)
}

// readyTime is how long one answer may take.
const readyTime = 3 * time.Second

// serveReady answers /ready on loopback: 200 while every workload can be used,
// else 503 and why.
func (a *Agent) serveReady(ctx context.Context) error {
	if a.cfg.ReadyPort == 0 {
		return nil
	}
	at := loopback(net.IPv4(127, 0, 0, 1), a.cfg.ReadyPort)
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", at)
	if err != nil {
		a.log.Warn("nobody can ask whether this host is ready", "error", err, "remedy", "give this agent a readyPort of its own, or 0 for none")
		return nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyTime)
		defer cancel()
		if err := a.ready(ctx); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ready\n")
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: readyTime, ReadTimeout: readyTime}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve /ready at %s: %w", at, err)
	}
	return nil
}

const (
	readyPoll = 100 * time.Millisecond
	// patience is how long systemd is left waiting for a host that is not
	// ready, such as one that has never seen a control plane: it is no reason
	// to start the agent again.
	patience = 20 * time.Second
)

// tellSystemd says when the host is ready, and that the agent still moves.
func (a *Agent) tellSystemd(ctx context.Context) error {
	go func() {
		defer close(a.readied)
		tick, late := time.NewTicker(readyPoll), time.After(patience)
		defer tick.Stop()
		for a.ready(ctx) != nil {
			select {
			case <-tick.C:
			case <-late:
				a.log.Warn("host is not ready yet", "error", a.ready(ctx))
				return
			case <-ctx.Done():
				return
			}
		}
		a.log.Info("host is ready")
	}()
	return units.Service{Ready: a.readied, Log: a.log.With("part", "systemd"), Alive: a.alive}.Run(ctx)
}

// alive fails where a part holds its lock for good. That a control plane is
// away, or that Envoy is, is no reason to start the agent again.
func (a *Agent) alive(ctx context.Context) error {
	moved := make(chan struct{})
	go func() {
		for _, s := range a.all() {
			w := s.present()
			_, _, _ = w.relay.Status(), w.envoy.Status(), w.identity.Status()
			w.mu.Lock()
			w.mu.Unlock() //nolint:staticcheck // whether it can be had is the question
		}
		close(moved)
	}()
	select {
	case <-moved:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("a part of the agent does not answer: %w", ctx.Err())
	}
}
