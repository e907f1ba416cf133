package main

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weft-mesh/weft/pkg/agent"
	"github.com/weft-mesh/weft/pkg/settings"
)

func runCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the agent and Envoy until SIGTERM",
		Long: `Run the agent and Envoy until SIGTERM, which ends the agent alone: Envoy goes on
serving, and the next agent takes it back with every connection. Ctrl-C,
"weft-agent stop", "weft-agent leave" and a host that stops drain and stop Envoy.

The host's traffic is redirected as soon as Envoy can serve it. Stopping leaves
the redirection in place: the host stays closed rather than open. "weft-agent
redirect remove" takes it off.

The configuration is read again when its file changes, and on SIGHUP. One with
faults is refused whole.`,
		Args: cobra.NoArgs,
	}
	b := bind(cmd, getenv)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := b.redirectable(); err != nil {
			return err
		}
		level, tail := new(slog.LevelVar), new(agent.Tail)
		log, err := settings.LeveledLogger(io.MultiWriter(cmd.ErrOrStderr(), tail), level, b.LogLevel, b.LogFormat)
		if err != nil {
			return usageError{err}
		}
		if err := agent.Rejoin(cmd.Context(), b.Config, log); err != nil {
			return err
		}
		a, err := agent.New(*b.Config, version, log)
		if err != nil {
			return err
		}
		again := make(chan os.Signal, 1)
		notifyReload(again)
		defer signal.Stop(again)
		a.Tail = tail
		a.Source = agent.Source{
			File: *b.file, Signals: again, Read: b.again,
			Level: func(text string) error { return level.UnmarshalText([]byte(text)) },
		}
		if was, err := underSystem(cmd.Context(), *b.file, a.Run); was {
			return err
		}
		return a.Run(cmd.Context())
	}
	return cmd
}

// again reads the configuration of now, under the same flags.
func (b bound) again() (agent.Config, error) {
	now := unbound(b)
	var errs []error
	b.flags.VisitAll(func(f *pflag.Flag) {
		if to := now.flags.Lookup(f.Name); f.Changed {
			errs = append(errs, settings.Copy(to, f))
			to.Changed = true
		}
	})
	errs = append(errs, now.redirectable())
	return *now.Config, errors.Join(errs...)
}
