package main

import (
	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/agent"
	"github.com/weft-mesh/weft/pkg/settings"
)

func runCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the agent and Envoy until SIGTERM",
		Long: `Run the agent and Envoy until SIGTERM.

The host's traffic is redirected as soon as Envoy can serve it. Stopping leaves
the redirection in place: the host stays closed rather than open. "weft-agent
redirect remove" takes it off.`,
		Args: cobra.NoArgs,
	}
	b := bind(cmd, getenv)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := b.redirectable(); err != nil {
			return err
		}
		log, err := settings.Logger(cmd.ErrOrStderr(), b.LogLevel, b.LogFormat)
		if err != nil {
			return usageError{err}
		}
		a, err := agent.New(*b.Config, version, log)
		if err != nil {
			return err
		}
		return a.Run(cmd.Context())
	}
	return cmd
}
