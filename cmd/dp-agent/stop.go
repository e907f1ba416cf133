package main

import (
	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/agent"
	"github.com/weft-mesh/weft/pkg/settings"
)

func stopCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stop",
		Short: "Drain and stop Envoy, and the agent",
		Long: `Drain and stop Envoy, and the agent where one runs: peers are told first that
this host is not ready, then what is under way ends, for drainTime at most.

SIGTERM, and with it systemctl stop and restart, ends the agent alone: Envoy
goes on serving with what it has, and the next agent takes it back. The
redirection stays in force either way, so that nothing gets around the mesh.`,
		Args: cobra.NoArgs,
	}
	b := bind(cmd, getenv)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := b.joined(); err != nil {
			return err
		}
		log, err := settings.Logger(cmd.ErrOrStderr(), b.LogLevel, b.LogFormat)
		if err != nil {
			return usageError{err}
		}
		return agent.Stop(cmd.Context(), *b.Config, log)
	}
	return cmd
}
