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
	"strings"
	"time"

	"github.com/weft-mesh/weft/pkg/agent/accesslog"
	"github.com/weft-mesh/weft/pkg/agent/identity"
	"github.com/weft-mesh/weft/pkg/agent/relay"
	"github.com/weft-mesh/weft/pkg/envoy"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// A Status tells how a host is.
type Status struct {
	Well   bool    `json:"well"` // every check is
	Checks []Check `json:"checks"`

	PID         int                   `json:"pid,omitempty"` // of the agent; 0: it does not run
	Version     string                `json:"version,omitempty"`
	Engine      Choice                `json:"engine,omitzero"`
	Redirection []redirect.Difference `json:"redirection,omitempty"`
	Switch      Switch                `json:"switch,omitzero"`
	Kept        redirect.Kept         `json:"kept,omitzero"`
	Lease       LeaseStatus           `json:"lease,omitzero"`
	Identity    identity.Status       `json:"identity,omitzero"`
	Relay       relay.Status          `json:"relay,omitzero"`
	Envoy       envoy.Status          `json:"envoy,omitzero"`
	AccessLogs  []accesslog.Status    `json:"accessLogs,omitempty"`
}

// A Check is one line of it.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"` // what to do when it is not OK
}

// status asks every part of a running agent.
func (a *Agent) status(ctx context.Context) Status {
	now := time.Now()
	s := Status{
		PID: os.Getpid(), Version: a.version,
		Identity: a.identity.Status(), Relay: a.relay.Status(), Envoy: a.envoy.Status(),
		AccessLogs: a.logs.Status(),
	}
	a.mu.Lock()
	envoyVersion, redirected := a.envoyVersion, a.redirected
	if a.unwell != nil {
		s.Lease.Unwell = a.unwell.Error()
	}
	a.mu.Unlock()
	s.Checks = append(s.Checks, hostCheck(a.cfg, fmt.Sprintf("agent %s runs (pid %d)", a.version, s.PID)))
	s.Kept = a.keeper.Kept()
	err := s.lookAtRedirection(ctx, a.cfg, a.choice, a.rules)
	s.Checks = append(s.Checks,
		redirectionCheck(a.cfg, s, errors.Join(redirected, err), now),
		envoyCheck(s.Envoy, s.Relay, envoyVersion, now),
		certificateCheck(s.Identity, now),
		sinceLastGood(controlPlaneCheck(s.Relay.ControlPlane, s.Identity, now), s.Relay),
	)
	s.Checks = append(s.Checks, logChecks(s.AccessLogs, now)...)
	s.Checks = append(s.Checks, lastGoodChecks(s.Relay, a.cfg.cacheDir())...)
	return s.judged()
}

func (s Status) judged() Status {
	s.Well = true
	for _, c := range s.Checks {
		s.Well = s.Well && c.OK
	}
	return s
}

func hostCheck(cfg Config, agent string) Check {
	what := fmt.Sprintf("service %s on port %d", cfg.Service, cfg.Port)
	if cfg.Gateway {
		what = "gateway " + cfg.Service
	}
	return Check{Name: "host", OK: true, Text: fmt.Sprintf("dataplane %s of mesh %s, %s; %s", cfg.Name, cfg.Mesh, what, agent)}
}

func envoyCheck(e envoy.Status, r relay.Status, version string, now time.Time) Check {
	c := Check{Name: "envoy", Remedy: "the agent's log has Envoy's own words"}
	switch refused := refusals(r); {
	case e.PID == 0:
		c.Text = "does not run"
		if e.LastExit != "" {
			c.Text += ", ended with " + e.LastExit
		}
	case len(refused) > 0:
		c.Text = "refuses " + strings.Join(refused, ", ") + " and goes on with what it had"
	case !r.Envoy.Connected:
		c.Text = fmt.Sprintf("runs (pid %d) but has not asked for its configuration", e.PID)
	case !r.Synced:
		c.Text = fmt.Sprintf("runs (pid %d) and waits for its configuration", e.PID)
		c.Remedy = "look at control plane and certificate below"
	default:
		c.OK, c.Text = true, fmt.Sprintf("%s serves (pid %d) for %s, restarted %d times", version, e.PID, ago(now, e.Since), e.Restarts)
	}
	return c
}

func refusals(r relay.Status) (out []string) {
	for _, k := range r.Kinds {
		for _, ref := range k.Refused {
			out = append(out, fmt.Sprintf("%s %s (%s)", k.Kind, ref.Name, ref.Words))
		}
	}
	return out
}

func certificateCheck(i identity.Status, now time.Time) Check {
	c := Check{Name: "certificate", Remedy: "the control plane renews it as soon as it answers; see below"}
	w := i.Workload
	switch {
	case i.Agent.Expired:
		c.Text = "the agent's own has expired on " + i.Agent.Expires.UTC().Format(time.DateTime)
		c.Remedy = "join again: weft-agent join TOKEN with a new token of weftctl join-token"
	case w.Expires.IsZero() && i.Registered:
		c.OK, c.Text = true, "none: the mesh has no mTLS"
	case w.Expires.IsZero():
		c.Text = "none yet"
	case w.Expired:
		c.Text = "expired on " + w.Expires.UTC().Format(time.DateTime)
	default:
		c.OK, c.Text = true, fmt.Sprintf("%s, good for %s, renewed in %s; lasts at least %s without a control plane", w.URIs[0], until(now, w.Expires), until(now, w.Renewal), span(i.RidesOut))
	}
	return c
}

func controlPlaneCheck(s relay.SideStatus, i identity.Status, now time.Time) Check {
	c := Check{Name: "control plane", Remedy: controlPlaneRemedy(s.LastError)}
	switch {
	case !s.Connected:
		c.Text = "not connected"
		if !s.Since.IsZero() {
			c.Text += " for " + ago(now, s.Since)
		}
		if s.LastError != "" {
			c.Text += ": " + s.LastError
		}
	case i.LastError != "":
		c.Text = "connected, but it did not take this host: " + i.LastError
		c.Remedy = "mend what it says, in the agent's configuration or on the control plane"
	default:
		c.OK, c.Text = true, "connected for "+ago(now, s.Since)
	}
	return c
}

// controlPlaneRemedy says what to do about words that a connection ended with.
func controlPlaneRemedy(words string) string {
	const keeps = "; until then the running Envoy goes on with what it has"
	switch {
	case strings.Contains(words, "is not registered"):
		return "the Dataplane was deleted, or a host of the same name has left: restart the agent, which registers this host again"
	case strings.Contains(words, "x509: certificate is valid for"):
		return "start weft-cp with --advertise for the address that this host dials, or write another into controlPlane of the agent's configuration and restart the agent" + keeps
	case strings.Contains(words, "signed by unknown authority"):
		return "this is not the control plane that the host joined, or its ca.key was lost: bring that back, or join again" + keeps
	default:
		return "is weft-cp up, and does a firewall let its port through?" + keeps
	}
}

func ago(now, t time.Time) string   { return span(now.Sub(t)) }
func until(now, t time.Time) string { return span(t.Sub(now)) }

// span prints a duration as people say it: two units at the most.
func span(d time.Duration) string {
	d = max(d, 0)
	day := 24 * time.Hour
	switch {
	case d >= day:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	default:
		return fmt.Sprintf("%ds", d/time.Second)
	}
}

// serveStatus answers weft-agent status on a unix socket in the agent's own
// folder, which is nobody else's to enter.
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
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(a.status(r.Context())); err != nil {
			a.log.Debug("status was not read", "error", err)
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
func FetchStatus(ctx context.Context, cfg Config) Status {
	s, err := askRunning(ctx, cfg.statusSocket())
	if err == nil {
		return s
	}
	s = Status{Checks: []Check{{
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
	id, err := identity.Open(cfg.StateDir)
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

func askRunning(ctx context.Context, socket string) (s Status, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/status", nil)
	if err != nil {
		return s, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(io.LimitReader(resp.Body, maxStatus)).Decode(&s)
}
