package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// A HostStatus tells how a host is.
type HostStatus struct {
	Well    bool   `json:"well"`          // the agent runs, and every workload is well
	PID     int    `json:"pid,omitempty"` // of the agent; 0: it does not run
	Version string `json:"version,omitempty"`

	Configuration changeStatus `json:"configuration,omitzero"`
	Checks        []Check      `json:"checks,omitempty"` // of what is the host's

	Workloads []Status `json:"workloads"`
}

// status asks every workload of a running agent.
func (a *Agent) status(ctx context.Context) HostStatus {
	now := time.Now()
	s := HostStatus{PID: os.Getpid(), Version: a.version}
	a.mu.Lock()
	s.Configuration = a.change
	a.mu.Unlock()
	s.Checks = append(s.Checks, configurationCheck(s.Configuration, now))
	for _, of := range a.all() {
		s.Workloads = append(s.Workloads, of.status(ctx))
	}
	return s.judged()
}

func (s *served) status(ctx context.Context) Status {
	s.mu.Lock()
	w, fault := s.w, s.fault
	s.mu.Unlock()
	st := w.status(ctx)
	if fault != nil {
		st.Checks = append([]Check{{Name: "workload", Text: "does not run, and is tried again: " + fault.Error(), Remedy: "mend what it says; the agent's log has more"}}, st.Checks...)
		st = st.judged()
	}
	return st
}

func (s HostStatus) judged() HostStatus {
	s.Well = s.PID != 0
	for _, c := range s.Checks {
		s.Well = s.Well && c.OK
	}
	for _, w := range s.Workloads {
		s.Well = s.Well && w.Well
	}
	return s
}

// serveStatus answers weft-agent status on a unix socket that is nobody else's
// to use.
func (a *Agent) serveStatus(ctx context.Context) error {
	path := a.cfg.statusSocket()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("status socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return fmt.Errorf("status socket: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(a.status(r.Context())); err != nil {
			a.log.Debug("status was not read", "error", err)
		}
	})
	mux.HandleFunc("GET /log", func(w http.ResponseWriter, _ *http.Request) {
		if a.Tail != nil {
			_, _ = w.Write(a.Tail.bytes()) // who asked has gone
		}
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("status socket: %w", err)
	}
	return nil
}

// FetchStatus asks the agent that runs on cfg's files. Where none does, it
// looks itself at what can be seen without one.
func FetchStatus(ctx context.Context, cfg Config) HostStatus {
	s, err := askRunning(ctx, cfg.statusSocket())
	if err == nil {
		return s
	}
	s = HostStatus{}
	for _, c := range cfg.Workloads() {
		s.Workloads = append(s.Workloads, lookAt(ctx, c))
	}
	return s
}

// lookAt finds what can be seen of a workload whose agent does not run.
func lookAt(ctx context.Context, cfg Config) Status {
	s := Status{Workload: cfg.Workload, Title: cfg.Title(), Checks: []Check{{
		Name: "host", Text: fmt.Sprintf("dataplane %s of mesh %s: the agent does not run", cfg.Name, cfg.Mesh),
		Remedy: "weft-agent run",
	}}}
	rules, err := cfg.Rules()
	if err == nil {
		err = s.lookAtRedirection(ctx, cfg, Choice{}, rules)
	}
	if err != nil || cfg.Redirect {
		c := redirectionCheck(cfg, s, err, time.Now())
		if err == nil && s.Switch == (Switch{}) {
			// Without an agent, apply would cut the host off.
			c.Remedy = "weft-agent run puts it in force once Envoy serves"
		}
		s.Checks = append(s.Checks, c)
	}
	id, err := cfg.openIdentity(nil)
	if err != nil {
		s.Checks = append(s.Checks, Check{Name: "certificate", Text: err.Error(), Remedy: "join this host again"})
		return s
	}
	s.Identity = id.Status()
	c := certificateCheck(s.Identity, time.Now())
	if !s.Identity.Agent.Expired {
		c.Remedy = "weft-agent run asks for one"
	}
	s.Checks = append(s.Checks, c)
	return s
}

// maxStatus bounds what is read of a status, in bytes.
const maxStatus = 1 << 20

func askRunning(ctx context.Context, socket string) (s HostStatus, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	resp, err := askAgent(ctx, socket, "/status")
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(io.LimitReader(resp.Body, maxStatus)).Decode(&s)
}
