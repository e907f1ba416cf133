package main

import (
	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/settings"
)

func configCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the effective configuration as a file",
		Args:  cobra.NoArgs,
	}
	b := bind(cmd, getenv)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := b.load(true); err != nil {
			return err
		}
		out, err := settings.YAML(b.flags, b.Lists(b.flags)...)
		if err != nil {
			return err
		}
		_, err = cmd.OutOrStdout().Write(out)
		return err
	}
	return cmd
}
