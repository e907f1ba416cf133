package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/pkg/agent/identity"
	"github.com/weft-mesh/weft/pkg/envoy"
)

// A Diagnosis is what an examination of a host found.
type Diagnosis struct {
	Well   bool    `json:"well"`
	Checks []Check `json:"checks"`
}

// A patient is what is examined: a host, or one workload of it.
type patient struct {
	cfg    Config
	status HostStatus // as the agent tells it, or as it can be seen without
}

// An examination looks at one thing. It needs no agent that runs.
type examination struct {
	name string
	// host examines once, and workload every workload. One of both is set.
	host     func(ctx context.Context, p patient) []Check
	workload func(ctx context.Context, p patient) []Check
}

// examinations are all that there are, in the order in which one thing stands
// on another.
var examinations = []examination{
	{name: "system", host: examineSystem},
	{name: "configuration", host: examineConfiguration},
	{name: "agent", host: examineAgent},
	{name: "limits", host: examineLimits},
	{name: "disk", host: examineDisk},
	{name: "resolvers", host: examineResolvers},
	{name: "rights", workload: examineRights},
	{name: "ports", workload: examinePorts},
	{name: "redirection", workload: examineRedirection},
	{name: "envoy", workload: examineEnvoy},
	{name: "certificate", workload: examineCertificate},
	{name: "control plane", workload: examineControlPlane},
	{name: "clock", workload: examineClock},
	{name: "status", workload: examineStatus},
}

// examinationTime bounds each.
const examinationTime = 10 * time.Second

// Doctor examines this host, whether an agent runs or not, and changes nothing.
// faults is what is wrong with the file, where it could not be read whole.
func Doctor(ctx context.Context, cfg Config, faults error) Diagnosis {
	if faults != nil {
		return Diagnosis{Checks: []Check{
			{Name: "system", OK: true, Text: systemVersion()},
			{Name: "configuration", Text: strings.ReplaceAll(faults.Error(), "\n", "; "), Remedy: "mend the file: weft-agent config --example explains every setting"},
		}}
	}
	p := patient{cfg: cfg, status: FetchStatus(ctx, cfg)}
	var d Diagnosis
	all := cfg.Workloads()
	for _, e := range examinations {
		look := func(f func(context.Context, patient) []Check, p patient, suffix string) {
			ctx, cancel := context.WithTimeout(ctx, examinationTime)
			defer cancel()
			for _, c := range f(ctx, p) {
				if c.Name == "" {
					c.Name = e.name
				}
				c.Name += suffix
				d.Checks = append(d.Checks, c)
			}
		}
		if e.host != nil {
			look(e.host, p, "")
			continue
		}
		for _, w := range all {
			suffix := ""
			if len(all) > 1 {
				suffix = fmt.Sprintf(" (%s)", w.Title())
			}
			look(e.workload, patient{cfg: w, status: p.status}, suffix)
		}
	}
	d.Well = !slices.ContainsFunc(d.Checks, func(c Check) bool { return !c.OK })
	return d
}

func fine(format string, args ...any) []Check {
	return []Check{{OK: true, Text: fmt.Sprintf(format, args...)}}
}

func ill(remedy, format string, args ...any) []Check {
	return []Check{{Text: fmt.Sprintf(format, args...), Remedy: remedy}}
}

func examineSystem(context.Context, patient) []Check {
	return fine("%s %s, %d cores", systemVersion(), runtime.GOARCH, runtime.NumCPU())
}

func examineConfiguration(_ context.Context, p patient) []Check {
	if err := p.cfg.Faults(); err != nil {
		return ill("mend the file: weft-agent config --example explains every setting", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if p.status.PID != 0 {
		return []Check{configurationCheck(p.status.Configuration, time.Now())}
	}
	return fine("without faults, %d workloads", len(p.cfg.Workloads()))
}

func examineAgent(_ context.Context, p patient) []Check {
	if p.status.PID == 0 {
		return ill(startIt, "does not run")
	}
	return fine("%s runs (pid %d)", p.status.Version, p.status.PID)
}

func examineRedirection(ctx context.Context, p patient) []Check {
	if !p.cfg.Redirect {
		return fine("off, as configured")
	}
	rules, err := p.cfg.Rules()
	if err != nil {
		return ill("mend the configuration", "%s", err)
	}
	choice, err := p.cfg.Choose(ctx, rules)
	if err == nil {
		err = choice.prove(ctx, rules)
	}
	if err != nil {
		return ill("load what the kernel lacks (modprobe), or choose another redirectEngine; weft-agent redirect check says more", "this kernel cannot have it: %s", err)
	}
	if err := p.cfg.Guard(rules, nil); err != nil {
		return ill("see what it says; nothing is touched while it is so", "%s", err)
	}
	var s Status
	err = s.lookAtRedirection(ctx, p.cfg, choice, rules)
	return []Check{redirectionCheck(p.cfg, s, err, time.Now())}
}

func examineEnvoy(ctx context.Context, p patient) []Check {
	u, err := p.cfg.findEnvoyUser()
	if err != nil {
		return ill("mend the configuration", "envoyUser: %s", err)
	}
	if os.Geteuid() != 0 {
		u = nil // only root can try it as another
	}
	version, err := envoy.CheckAs(ctx, p.cfg.envoyBinary(), u)
	if err != nil {
		return ill("see what it says, or name another by the setting envoy", "%s", err)
	}
	if err := envoy.NewAdmin(p.cfg.adminSocket()).Ready(ctx); err != nil {
		remedy := "the agent starts it: is that up?"
		if p.status.PID != 0 {
			remedy = "weft-agent status says why; the agent's log has Envoy's own words"
		}
		return ill(remedy, "%s is there (%s), but does not serve: %s", version, p.cfg.envoyBinary(), err)
	}
	if u == nil && os.Geteuid() == 0 && p.cfg.EnvoyUser == "" {
		return fine("%s serves (%s), as root: it can do less as a user of its own, which systemd-sysusers or useradd --system %s makes, from the agent's next start on", version, p.cfg.envoyBinary(), usualEnvoyUser)
	}
	return fine("%s serves (%s)%s", version, p.cfg.envoyBinary(), asUser(u.String()))
}

// open is the identity as it is on disk.
func (p patient) open() (*identity.Identity, error) {
	id, err := identity.Open(p.cfg.identityDir(), nil)
	if err == nil {
		id.Addresses, id.Mark = p.cfg.ControlPlanes, p.cfg.mark()
	}
	return id, err
}

func examineCertificate(_ context.Context, p patient) []Check {
	id, err := p.open()
	if err != nil {
		return ill("weft-agent join TOKEN, with a new token of weftctl join-token", "%s", err)
	}
	st := id.Status()
	for _, w := range p.status.Workloads {
		if p.status.PID != 0 && w.Workload == p.cfg.Workload {
			st = w.Identity // which knows since when it hears of the control plane
		}
	}
	c := certificateCheck(st, time.Now())
	if c.Text == "none yet" {
		c.Remedy = "the agent asks for one: is it up, and does the control plane answer?"
	}
	return []Check{c}
}

func examineControlPlane(ctx context.Context, p patient) []Check {
	id, err := p.open()
	if err != nil {
		return nil // told with the certificate
	}
	if _, _, err := id.Ahead(ctx); err != nil && !errors.Is(err, identity.ErrNoClock) {
		return ill(controlPlaneRemedy(err.Error()), "%s: %s", strings.Join(p.cfg.ControlPlanes, ", "), err)
	}
	return fine("answers, and takes this host's certificate")
}

// clockSlack is by how much clocks may differ: certificates are good from five
// minutes before they are made.
const clockSlack = time.Minute

func examineClock(ctx context.Context, p patient) []Check {
	id, err := p.open()
	if err != nil {
		return nil
	}
	return clockCheck(id.Ahead(ctx))
}

// clockCheck judges how this host's clock differs, give or take within.
func clockCheck(ahead, within time.Duration, err error) []Check {
	switch {
	case err != nil && strings.Contains(err.Error(), "not yet valid"):
		return ill("set this host's clock: timedatectl set-ntp true", "this host's is behind: %s", err)
	case err != nil:
		return nil // told with the control plane
	case ahead.Abs() > clockSlack+within:
		way := "ahead of"
		if ahead < 0 {
			way = "behind"
		}
		return ill("set the wrong one of both: timedatectl set-ntp true", "this host's is %s %s the control plane's", ahead.Abs().Round(time.Second), way)
	}
	return fine("differs from the control plane's by %s", ahead.Abs())
}

// examineStatus adds what only a running agent knows and no other examination
// has found.
func examineStatus(_ context.Context, p patient) (ill []Check) {
	if p.status.PID == 0 {
		return nil
	}
	for _, w := range p.status.Workloads {
		if w.Workload != p.cfg.Workload {
			continue
		}
		for _, c := range w.Checks {
			if !c.OK && !slices.Contains([]string{"redirection", "certificate", "control plane"}, c.Name) {
				c.Name = "status: " + c.Name
				ill = append(ill, c)
			}
		}
	}
	return ill
}
