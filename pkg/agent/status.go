package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/weft-mesh/weft/pkg/agent/accesslog"
	"github.com/weft-mesh/weft/pkg/agent/identity"
	"github.com/weft-mesh/weft/pkg/agent/relay"
	"github.com/weft-mesh/weft/pkg/envoy"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// A Status tells how a workload is.
type Status struct {
	Workload string  `json:"workload,omitempty"` // its name in the configuration; "" at the top of that
	Title    string  `json:"title"`              // what it is, in words
	Well     bool    `json:"well"`               // every check is
	Checks   []Check `json:"checks"`

	Engine      Choice                `json:"engine,omitzero"`
	Redirection []redirect.Difference `json:"redirection,omitempty"`
	Switch      Switch                `json:"switch,omitzero"`
	Kept        redirect.Kept         `json:"kept,omitzero"`
	Lease       LeaseStatus           `json:"lease,omitzero"`
	Identity    identity.Status       `json:"identity,omitzero"`
	Relay       relay.Status          `json:"relay,omitzero"`
	Envoy       envoy.Status          `json:"envoy,omitzero"`
	TLS         TLSStatus             `json:"tls,omitzero"`
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
func (w *Workload) status(ctx context.Context) Status {
	now := time.Now()
	cfg := *w.now.Load()
	s := Status{
		Workload: cfg.Workload, Title: cfg.Title(),
		Identity: w.identity.Status(), Relay: w.relay.Status(), Envoy: w.envoy.Status(), TLS: tlsOf(ctx, envoy.NewAdmin(cfg.adminSocket())),
		AccessLogs: w.logs.Status(),
	}
	w.mu.Lock()
	envoyVersion, redirected := w.envoyVersion, w.redirected
	if w.unwell != nil {
		s.Lease.Unwell = w.unwell.Error()
	}
	w.mu.Unlock()
	s.Checks = append(s.Checks, hostCheck(cfg, fmt.Sprintf("agent %s runs (pid %d)", w.version, os.Getpid())))
	s.Kept = w.keeper.Kept()
	err := s.lookAtRedirection(ctx, cfg, w.choice, w.wish())
	s.Checks = append(s.Checks,
		redirectionCheck(cfg, s, errors.Join(redirected, err), now),
		envoyCheck(s.Envoy, s.Relay, envoyVersion, now),
		certificateCheck(s.Identity, now),
		tlsCheck(s.TLS),
		sinceLastGood(controlPlaneCheck(s.Relay.ControlPlane, s.Identity, now), s.Relay),
	)
	s.Checks = append(s.Checks, w.serviceCheck(now)...)
	s.Checks = append(s.Checks, logChecks(s.AccessLogs, now)...)
	s.Checks = append(s.Checks, lastGoodChecks(s.Relay, w.cfg.cacheDir())...)
	s.Checks = append(s.Checks, keptKeysChecks(s.Identity, w.cfg.identityDir())...)
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
	case e.CrashLoop(now) && (e.PID == 0 || !r.Envoy.Connected || !r.Synced):
		c.Text = fmt.Sprintf("is in a crash loop: it died %d times in a row soon after its start, last with %s", e.Deaths, e.LastExit)
		if !e.NextTry.IsZero() {
			c.Text += fmt.Sprintf("; started again in %s", e.NextTry.Sub(now).Round(100*time.Millisecond))
		}
		c.Remedy = "the agent's log has Envoy's own words; put back the binary or the setting that was changed last"
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
		c.OK = e.Kept == "" && !e.FellBack
		if e.Version != "" {
			version = e.Version
		}
		c.Text = fmt.Sprintf("%s serves (pid %d%s) for %s, restarted %d times", version, e.PID, asUser(e.User), ago(now, e.Since), e.Restarts)
		if e.OutOfMemory > 0 {
			c.Text += fmt.Sprintf(", %d times for want of memory", e.OutOfMemory)
		}
		if e.FellBack {
			c.Text += "; it is what it was before: with the binary or the settings of now it kept dying, last with " + e.LastExit
			c.Remedy = "put back the binary or the setting that was changed last; another one is tried as soon as it is there. The agent's log has Envoy's own words"
		}
		if e.Kept != "" {
			c.Text += "; it was to be replaced, but " + e.Kept
			c.Remedy = "mend what it says; it is tried again, and traffic goes on meanwhile"
		}
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
		return "the agent is registering this host again; if that does not help, its log says why"
	case strings.Contains(words, "this name is another host's"), strings.Contains(words, "join this host again"):
		return "do what it says" + keeps
	case strings.Contains(words, "x509: certificate is valid for"):
		return "start weft-cp with --advertise for the address that this host dials, or write another into controlPlane of the agent's configuration and restart the agent" + keeps
	case strings.Contains(words, "signed by unknown authority"):
		return "this is not the control plane that the host joined, or its authority was lost or exchanged while this host was away: bring that back, or join again" + keeps
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
