package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/kardianos/service"
	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/packaging/systemd"
	"github.com/weft-mesh/weft/pkg/agent"
)

// serviceName is what the system calls the agent.
const serviceName = "weft-agent"

// packagedUnits are where the packages put the unit.
var packagedUnits = []string{"/usr/lib/systemd/system/weft-agent.service", "/lib/systemd/system/weft-agent.service"}

func serviceCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "service",
		Short: "Have this system run the agent: install, uninstall, start or stop its service",
		Long: `Have this system run the agent: as a unit of systemd, as a service of Windows or
launchd, or as what else this system has for it.

The packages bring the unit with them: where one is installed, systemctl does
all of this.`,
	}
	for _, c := range []struct{ name, short, done string }{
		{"install", "Install the service and have it start with the system", "installed; weft-agent service start starts it"},
		{"uninstall", "Take the service off; what join and run did stays, see leave", "uninstalled"},
		{"start", "Start the service", "started"},
		{"stop", "Stop the service; the redirection stays in force", "stopped"},
	} {
		sub := &cobra.Command{Use: c.name, Short: c.short, Args: cobra.NoArgs}
		b := bind(sub, getenv)
		sub.RunE = func(cmd *cobra.Command, _ []string) error {
			s, err := newService(nil, *b.file)
			if err != nil {
				return err
			}
			if c.name == "install" {
				for _, unit := range packagedUnits {
					if _, err := os.Stat(unit); err == nil {
						return fmt.Errorf("a package has installed %s: systemctl enable --now weft-agent", unit)
					}
				}
			}
			if err := service.Control(s, c.name); err != nil {
				return serviceFault(c.name, err)
			}
			if c.name == "uninstall" {
				if err := removeLevels("/etc/rc?.d"); err != nil {
					return err
				}
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "service %s is %s\n", serviceName, c.done)
			return err
		}
		cmd.AddCommand(sub)
	}
	return cmd
}

// removeLevels removes what the library leaves of a service of System V's init:
// its links in the folders of the run levels.
func removeLevels(folders string) error {
	links, err := filepath.Glob(filepath.Join(folders, "[SK][0-9][0-9]"+serviceName))
	for _, l := range links {
		err = errors.Join(err, os.Remove(l))
	}
	return err
}

// serviceFault adds what to do.
func serviceFault(verb string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission) || strings.Contains(strings.ToLower(err.Error()), "denied"):
		return fmt.Errorf("%w; %s it as root or as an administrator", err, verb)
	case errors.Is(err, service.ErrNotInstalled):
		return fmt.Errorf("%w; weft-agent service install does that", err)
	}
	return err
}

// newService is the service of this system's kind. program is what Windows
// runs; others run a process.
func newService(program service.Interface, config string) (service.Service, error) {
	c := &service.Config{
		Name: serviceName, DisplayName: "Weft agent", Description: "Host agent of the Weft service mesh",
		Arguments: []string{"run"},
		Option: service.KeyValue{
			"OnFailure": "restart", "OnFailureDelayDuration": "1s", // Windows
			"KeepAlive": true, "RunAtLoad": true, // launchd
		},
	}
	if config != agent.DefaultConfigFile {
		c.Arguments = append(c.Arguments, "--config", config)
	}
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c.Executable = path
	c.Option["SystemdScript"] = unit(path, c.Arguments)
	s, err := service.New(program, c)
	if errors.Is(err, service.ErrNoServiceSystemDetected) {
		return nil, fmt.Errorf("%w on this %s: start \"weft-agent run\" by what it has for programs that run all the while", err, runtime.GOOS)
	}
	return s, err
}

// unit is that of the packages, for a program and a configuration elsewhere.
func unit(path string, args []string) string {
	quoted := []string{fmt.Sprintf("%q", path)}
	for _, a := range args {
		quoted = append(quoted, fmt.Sprintf("%q", strings.ReplaceAll(a, "%", "%%")))
	}
	var out []string
	for line := range strings.Lines(systemd.Agent) {
		switch {
		case strings.HasPrefix(line, "ExecStart="):
			line = "ExecStart=" + strings.Join(quoted, " ") + "\n"
		case strings.HasPrefix(line, "ConditionPathExists=") && len(args) > 1:
			line = "ConditionPathExists=" + args[len(args)-1] + "\n"
		}
		out = append(out, line)
	}
	return strings.Join(out, "")
}

// underSystem runs f as the service manager of Windows wants it, where that has
// started this process; was is false elsewhere.
func underSystem(ctx context.Context, config string, f func(context.Context) error) (was bool, err error) {
	if runtime.GOOS != "windows" || service.Interactive() {
		return false, nil
	}
	p := &program{run: f, done: make(chan error, 1)}
	p.ctx, p.stop = context.WithCancel(ctx)
	s, err := newService(p, config)
	if err != nil {
		return true, err
	}
	return true, errors.Join(s.Run(), p.err)
}

// A program is what Windows starts and stops.
type program struct {
	run  func(context.Context) error
	ctx  context.Context //nolint:containedctx // Start and Stop are calls of their own
	stop context.CancelFunc
	done chan error
	err  error
}

// Start returns at once, as Windows wants.
func (p *program) Start(s service.Service) error {
	go func() {
		err := p.run(p.ctx)
		p.done <- err
		if p.ctx.Err() == nil {
			_ = s.Stop() // it has ended by itself
		}
	}()
	return nil
}

// Stop waits until the agent has ended.
func (p *program) Stop(service.Service) error {
	p.stop()
	p.err = <-p.done
	return p.err
}
